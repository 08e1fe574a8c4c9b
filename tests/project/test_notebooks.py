"""Notebooks as they are stored: valid, run, without errors, the same on every machine. `make notebooks` runs them."""

import ast
import re
from pathlib import Path

import pytest

import missie_impact as mi

nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = (
    "01_first_study",
    "02_own_registers",
    "03_becoming_structural",
    "04_leaving_a_market",
    "05_budget_indicator",
    "06_extending_the_2024_study",
    "07_how_wrong_can_it_be",
    "08_real_exporters",
)
# Folders of a machine: a home, a mount, a scratch folder, a drive. "/" alone and addresses of pages are no such paths.
MACHINE_PATH = re.compile(r"(?<![\w./])/(?:home|root|Users|tmp|work|mnt|var|opt|usr)/|\b[A-Z]:\\\\?\w")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook):
    """All text a reader can see: sources, printed lines, and outputs that are not pictures."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (text for kind, text in output.get("data", {}).items() if not kind.startswith("image/png"))


def test_all_eight_are_there():
    assert [path.stem for path in NOTEBOOKS] == list(NAMES)


def test_is_valid(notebook):
    nbformat.validate(notebook)


def test_first_cell_is_a_title_and_a_dutch_summary(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "**Samenvatting" in first.source
    assert re.search(r"gesimuleerd", first.source), "the summary says which figures are simulated"


def test_has_run_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert any(cell.outputs for cell in code_cells(notebook))


def test_no_cell_failed_or_warned(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert [o.get("ename") for o in outputs if o.output_type == "error"] == []
    assert [o.text for o in outputs if o.get("name") == "stderr"] == []


def test_no_path_of_a_machine(notebook):
    assert [found.group() for text in texts(notebook) for found in [MACHINE_PATH.search(text)] if found] == []


def test_nothing_stored_that_differs_from_run_to_run(notebook):
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}
    assert [cell.id for cell in notebook.cells if cell.metadata] == []
    assert [cell.id for cell in notebook.cells] == [f"cell-{n:02d}" for n in range(1, len(notebook.cells) + 1)]
    assert [text for text in texts(notebook) if re.search(r" at 0x[0-9a-f]{6,}", text)] == []


def test_every_public_name_exists(notebook):
    trees = [ast.parse(cell.source.replace(";\n", "\n").rstrip(";")) for cell in code_cells(notebook)]
    used = {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mi"
    }
    assert used, "a notebook shows the library"
    assert sorted(name for name in used if name not in mi.__all__) == []


def test_imports_nothing_from_inside_a_room(notebook):
    inner = re.compile(r"^\s*(?:from|import) missie_impact\.\w+\.", re.MULTILINE)
    assert [cell.id for cell in code_cells(notebook) if inner.search(cell.source)] == []
