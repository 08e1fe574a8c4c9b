"""What the documentation says exists: functions, options and links; its examples give the numbers beside them."""

from __future__ import annotations

import ast
import csv
import dataclasses
import inspect
import os
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import missie_impact as mi

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DATA = ROOT / "tests" / "data"
PAGES = [
    ROOT / "README.md",
    *sorted(p for p in DOCS.rglob("*.md") if not {"_build", "generated"} & set(p.relative_to(DOCS).parts)),
]
ANYTHING = object()  # what a name stands for when its type is not known


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def calls_in_text(page: Path) -> Iterator[str]:
    """Code spans in running text that are one call of something public: `mi.match(risk, on=...)`."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for span in re.findall(r"(?<!`)`([^`\n]+\))`(?!`)", prose):
        found = re.match(r"(?:mi\.)?([A-Za-z_]+)\(", span)
        if found and (span.startswith("mi.") or found[1] in mi.__all__):
            yield span


# ---- names and keywords ---------------------------------------------------------------------------------------------


class Names(ast.NodeVisitor):
    """Follow the types of variables through a page and note every name or keyword the library does not have."""

    def __init__(self) -> None:
        self.types: dict[str, Any] = {}
        self.wrong: list[str] = []

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.types[target.id] = self.type_of(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        function = self.value_of(node.func)
        if callable(function):
            parameters = signature(function)
            if parameters is not None:
                known = {p.name for p in parameters}
                rest = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
                unknown = {k.arg for k in node.keywords if k.arg} - known
                if unknown and not (rest and is_replace(function)):
                    self.wrong.append(f"{ast.unparse(node.func)} has no {sorted(unknown)}")
                if rest and is_replace(function):
                    extra = {k.arg for k in node.keywords} - {f.name for f in dataclasses.fields(mi.Definitions)}
                    self.wrong += [f"no definition {name}" for name in sorted(map(str, extra))]

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        self.value_of(node)

    def value_of(self, node: ast.expr) -> Any:
        """The function, class or module that an expression names, or ANYTHING."""
        if isinstance(node, ast.Name):
            return mi if node.id == "mi" else getattr(mi, node.id, ANYTHING) if node.id in mi.__all__ else ANYTHING
        if not isinstance(node, ast.Attribute):
            return ANYTHING
        owner = self.value_of(node.value)
        if owner is mi:
            if node.attr not in mi.__all__ and not node.attr.startswith("__"):
                self.wrong.append(f"missie_impact has no {node.attr}")
                return ANYTHING
            return getattr(mi, node.attr)
        if inspect.isclass(owner) and owner.__module__.startswith("missie_impact"):
            return self.member(owner, node.attr)
        kind = type(owner) if dataclasses.is_dataclass(owner) else self.type_of(node.value)
        return self.member(kind, node.attr)

    def member(self, kind: Any, name: str) -> Any:
        if not inspect.isclass(kind) or not kind.__module__.startswith("missie_impact"):
            return ANYTHING
        names = set(dir(kind)) | {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
        if names and name not in names:
            self.wrong.append(f"{kind.__name__} has no {name}")
        return getattr(kind, name, ANYTHING)

    def type_of(self, node: ast.expr) -> Any:
        """The class an expression yields, as far as annotations tell."""
        if isinstance(node, ast.Name):
            value = self.value_of(node)
            return self.types.get(node.id, type(value) if dataclasses.is_dataclass(value) else ANYTHING)
        if not isinstance(node, ast.Call):
            return ANYTHING
        function = self.value_of(node.func)
        if inspect.isclass(function):
            return function
        if not inspect.isroutine(function):
            return ANYTHING
        owner = self.type_of(node.func.value) if isinstance(node.func, ast.Attribute) else None
        answer = returned(function)
        return owner if answer is typing.Self and inspect.isclass(owner) else answer


def is_replace(function: Any) -> bool:
    return function is mi.Definitions.replace or getattr(function, "__func__", None) is mi.Definitions.replace


def signature(function: Any) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except ValueError:
        return None


def returned(function: Any) -> Any:
    try:
        hints = typing.get_type_hints(inspect.unwrap(function))
    except (NameError, TypeError):
        return ANYTHING
    answer = hints.get("return", ANYTHING)
    return ANYTHING if isinstance(answer, types.GenericAlias | types.UnionType) else answer


def wrong_names(sources: list[str]) -> list[str]:
    names = Names()
    for source in sources:
        names.visit(ast.parse(source))
    return names.wrong


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_names_and_options_in_examples_exist(page: Path) -> None:
    assert wrong_names(blocks(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_names_and_options_in_text_exist(page: Path) -> None:
    wrong = []
    for span in calls_in_text(page):
        try:
            wrong += wrong_names([span])
        except SyntaxError:  # `mi.exit_diagnostics(risk, model="cox", ...)`: dots for what is left out
            named = set(re.findall(r"(\w+)=(?!=)", span))
            function = getattr(mi, re.match(r"(?:mi\.)?(\w+)", span)[1], None)  # type: ignore[index]
            if function is None:
                wrong.append(f"missie_impact has no {span}")
            elif (known := signature(function)) is not None:
                wrong += [f"{span}: no {name}" for name in named - {p.name for p in known} if f"{name}=" in span]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mi.nothing(1)", "missie_impact has no nothing"),
        ("mi.match(risk, colour='red')", "mi.match has no ['colour']"),
        ("risk = mi.exit_risk_set(panel)\nrisk.no_such()", "RiskSet has no no_such"),
        ("mi.CBS_2024.replace(gaps=1)", "no definition gaps"),
        ("match(risk, colour='red')", "match has no ['colour']"),
        ("mi.RiskSet.from_frame(table, results='y')", "mi.RiskSet.from_frame has no ['results']"),
    ],
)
def test_what_does_not_exist_is_noticed(line: str, said: str) -> None:
    assert said in wrong_names([line])


def test_options_in_text_are_options_of_something() -> None:
    """`cluster=`, `by=` and so on in running text name a parameter, a field or a definition of the library."""
    known = set()
    for name in mi.__all__:
        value = getattr(mi, name)
        if callable(value):
            known |= {p.name for p in signature(value) or []}
        if inspect.isclass(value):
            for _, member in inspect.getmembers(value, callable):
                known |= {p.name for p in signature(member) or []} if inspect.isroutine(member) else set()
    known |= {f.name for f in dataclasses.fields(mi.Definitions)}
    foreign = OTHER_PROGRAMS
    wrong = {}
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
        named = set(re.findall(r"`([a-z_]+)=[^`=]*`", prose)) - known - foreign
        if named:
            wrong[name_of(page)] = sorted(named)
    assert wrong == {}


OTHER_PROGRAMS = {"weights", "entry_col", "strata", "cluster_col", "vcov"}  # options of R and lifelines, named as such


# ---- examples -------------------------------------------------------------------------------------------------------


def test_examples_for_users_of_other_programs_give_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement runs; a number behind ``#`` is what its line gives, to the digits shown."""
    monkeypatch.chdir(DATA)
    space: dict[str, Any] = {}
    checked, wrong = 0, []
    for block in blocks(DOCS / "coming_from.md"):
        lines = block.splitlines()
        for statement in ast.parse(block).body:
            code = ast.Module([statement], [])
            if not isinstance(statement, ast.Expr):
                exec(compile(code, "coming_from.md", "exec"), space)
                continue
            found = eval(compile(ast.Expression(statement.value), "coming_from.md", "eval"), space)
            said = re.search(r"#\s*(-?[\d.]+)$", lines[(statement.end_lineno or 1) - 1])
            if said:
                checked += 1
                digits = len(said[1].partition(".")[2])
                if abs(float(found) - float(said[1])) > 0.5000001 * 10**-digits:
                    wrong.append((ast.unparse(statement), said[1]))
    assert wrong == []
    assert checked >= 12


# ---- links ----------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Anchors of headings as GitHub and MyST make them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose, re.M):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        found.add(re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_internal_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    text = re.sub(r"`[^`\n]*`", "", text)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_navigation() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = {p.stem for p in DOCS.glob("*.md")} - {"index"}
    assert [page for page in sorted(pages) if not re.search(rf"^(.*<)?{page}>?$", index, re.M)] == []


# ---- generated parts ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages() -> Any:
    pytest.importorskip("sphinx")
    sys.path.insert(0, os.fspath(DOCS / "_ext"))
    try:
        import generated_pages
    finally:
        sys.path.pop(0)
    return generated_pages


def test_the_reference_holds_every_public_name_once(pages: Any) -> None:
    listed = [name for names in pages.public_names().values() for name in names]
    assert sorted(listed) == sorted(mi.__all__)
    assert set(pages.public_names()) <= set(pages.ROOMS)
    text = "".join(pages.room_page(room, names) for room, names in pages.public_names().items())
    assert [n for n in mi.__all__ if len(re.findall(rf"^\.\. [a-z:]+ missie_impact\.{n}$", text, re.M)) != 1] == []


def test_the_definitions_page_holds_every_rule(pages: Any) -> None:
    text = pages.definitions_part()
    assert [f.name for f in dataclasses.fields(mi.Definitions) if f"| `{f.name}` |" not in text] == []


def test_coverage_becomes_a_cross_table(pages: Any, tmp_path: Path) -> None:
    assert "make validate" in pages.coverage_part(tmp_path / "coverage.csv")
    (tmp_path / "coverage.csv").write_text(
        "regime,estimator,estimand,draws,failed,bias,bias_error,coverage,unbiased,covers\n"
        "seen,regression,rd_att,1000,0,0.0012,0.0004,0.951,True,True\n"
        "unseen,regression,rd_att,998,2,0.0512,0.0004,0.1,False,False\n"
    )
    text = pages.coverage_part(tmp_path / "coverage.csv")
    assert "| estimator: estimand | seen | unseen |" in text
    assert "accepted" not in text
    assert "| regression: rd_att | +0.001 ± 0.000 | +0.051 ± 0.000 ✗ |" in text
    assert "| regression: rd_att | 95.1% (1000) | 10.0% ✗ (998, 2 failed) |" in text
    (tmp_path / "coverage.csv").write_text(
        "regime,estimator,estimand,draws,failed,bias,bias_error,coverage,unbiased,covers\n"
        "seen,regression,rd_att,24,0,0.0012,0.0004,0.951,True,True\n"
    )
    assert "24 registers: under 1,000 nothing counts as accepted" in pages.coverage_part(tmp_path / "coverage.csv")


def test_coverage_of_the_increase_becomes_a_table(pages: Any, tmp_path: Path) -> None:
    path = tmp_path / "increase_coverage.csv"
    path.write_text(
        "regime,planted,estimator,estimand,truth,draws,failed,bias,bias_error,coverage,unbiased,covers\n"
        'seen,none,"export_increase, att_eur",att_eur,70000.4,1000,0,-1500,600.2,0.951,True,True\n'
        'seen,cbs_2024,"counterfactual_indicator, path",share_pp,7.1,996,4,1.2,0.1,0.9,False,False\n'
    )
    increase, matched = (pages.increase_part(path, f) for f in ("export_increase", "counterfactual_indicator"))
    assert increase.count("\n") == 3
    assert "| `seen` | none | `att_eur` | 70,000 | 1,000 | -1,500 ± 600 | 95.1% |" in increase
    assert "| `path` `share_pp` | 7.100 | 996 (4 more without an estimate) | +1.200 ± 0.100 ✗ | 90.0% ✗ |" in matched


def test_the_page_of_published_figures_says_what_the_data_say() -> None:
    text = (ROOT / "src" / "missie_impact" / "published.csv").read_text(encoding="utf-8")
    page = (DOCS / "published.md").read_text(encoding="utf-8").splitlines()

    def line(row: dict[str, str]) -> str:
        unit = re.sub(r" \(.*\)$", "", row["unit"])  # what is open about the unit stands above the table
        number = f"{float(row['value']):.12g}" if row["value"] else ""
        printed = " ".join(filter(None, [row["bound"], number, unit])) if number else ""
        read_as = f"{float(row['read_as']):,.12g} ({row['scale']})" if row["read_as"] else ""
        cells = [row["id"], row["label"], row["group"], row["period"], printed, read_as, row["status"], row["note"]]
        return f"| {' | '.join(cells)} |"

    assert [row for row in page if row.startswith("| R")] == [line(row) for row in csv.DictReader(text.splitlines())]


def test_every_reference_case_is_listed_and_read_by_a_test(pages: Any) -> None:
    text = pages.reference_part()
    for case in (p.name for p in DATA.iterdir() if p.is_dir()):
        row = "".join(line for line in text.splitlines() if line.startswith(f"| `{case}` |"))
        assert row, f"{case} is not in SOURCES.md"
        assert "test_" in row or "/`" in row


def test_a_notebook_becomes_a_page(pages: Any, tmp_path: Path) -> None:
    outputs = [
        {"output_type": "execute_result", "data": {"text/html": ["<b>1</b>"], "text/plain": "1"}},
        {"output_type": "display_data", "data": {"image/png": "aGVsbG8=\n", "text/plain": "<Figure>"}},
        {"output_type": "stream", "text": ["two\n"]},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "see [methods](../docs/methods/cox.md)"]},
        {"cell_type": "code", "source": "1 + 0", "outputs": outputs},
    ]
    found = sys.modules["notebook_pages"].page({"cells": cells}, "one", tmp_path)
    assert found.split("\n\n") == [
        "# Title\nsee [methods](../../methods/cox.md)",
        "```python\n1 + 0\n```",
        '```{raw} html\n<div class="notebook-output"><b>1</b></div>\n```',
        "![Figure](one_1_1.png)",
        "```text\ntwo\n```\n",
    ]
    assert (tmp_path / "one_1_1.png").read_bytes() == b"hello"
