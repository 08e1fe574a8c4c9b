"""Data flows upward: a room of the house imports only from the rooms below it."""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Iterator

import pytest

# Top to bottom. A room may import from those that stand further down this list, and from the leaves.
ROOMS = [
    "cli",
    "study",
    "disclosure",
    "report",
    "validity",
    "effects",
    "design",
    "indicator",
    "risksets",
    "panel",
    "linkage",
    "survey",
    "simulation",
    "registers",
    "numerics",
]
LEAVES = {"definitions", "published", "policy", "display", "flow", "provenance", "errors"}
HEAVY = {"statsmodels", "linearmodels", "matplotlib", "great_tables", "pyspark", "polars", "sklearn"}
DRAWING = {"matplotlib", "great_tables"}


def imports(name: str, tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports, relative ones written out; those inside functions too."""
    package = ["missie_impact", *name.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            parts = [*base, *(node.module.split(".") if node.module else [])]
            if parts == ["missie_impact"]:  # from missie_impact import panel
                yield from (f"missie_impact.{alias.name}" for alias in node.names)
            else:
                yield ".".join(parts)


def room(name: str) -> str:
    """Room that a file, or a dotted name below missie_impact, belongs to."""
    return name.removesuffix(".py").replace("/", ".").split(".")[0]


def breaches(name: str, tree: ast.AST) -> list[str]:
    here = room(name)
    if here == "__init__":  # the front door opens on every room
        return []
    found = []
    for target in imports(name, tree):
        library, _, rest = target.partition(".")
        if library == "missie_impact":
            there = room(rest) if rest else "__init__"
            if there != here and not allowed(here, there):
                found.append(f"{name}: {here} must not import {there}")
        elif library in DRAWING and here != "report":
            found.append(f"{name}: {library} belongs in report/")
        elif here == "numerics" and library not in {"numpy", "scipy"} and library not in sys.stdlib_module_names:
            found.append(f"{name}: numerics knows numpy and scipy only, not {library}")
    return found


def allowed(here: str, there: str) -> bool:
    if here == "numerics":
        return there == "errors"
    if there in LEAVES:
        return True
    return here in ROOMS and there in ROOMS[ROOMS.index(here) + 1 :]


def test_every_room_is_known(modules: dict[str, ast.Module]) -> None:
    assert {room(name) for name in modules} <= {*ROOMS, *LEAVES, "__init__", "__main__"}


def test_imports_point_downward(modules: dict[str, ast.Module]) -> None:
    assert [breach for name, tree in modules.items() for breach in breaches(name, tree)] == []


def test_heavy_libraries_are_imported_inside_functions(modules: dict[str, ast.Module]) -> None:
    found = []
    for name, tree in modules.items():
        outside = ast.Module(copy.deepcopy([node for node in tree.body if not is_typing_only(node)]), [])
        for node in ast.walk(outside):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = []  # what stands inside a function is imported when it is called
        found += [f"{name}: {target}" for target in imports(name, outside) if target.split(".")[0] in HEAVY]
    assert found == []


def is_typing_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


@pytest.mark.parametrize(
    ("name", "line", "wrong"),
    [
        ("panel/build.py", "from missie_impact.effects import exit", True),
        ("panel/build.py", "from ..effects.exit import market_exit", True),
        ("panel/build.py", "from .. import effects", True),
        ("panel/build.py", "def f():\n    from missie_impact.study import replicate", True),
        ("panel/build.py", "from .history import spells", False),
        ("panel/build.py", "from ..registers.tables import Registers", False),
        ("panel/build.py", "from ..errors import SchemaError", False),
        ("panel/build.py", "import missie_impact", True),
        ("simulation/trade.py", "from missie_impact.panel import build_panel", True),
        ("simulation/registers.py", "from missie_impact.registers import Registers", False),
        ("errors.py", "from missie_impact.registers import Registers", True),
        ("flow.py", "from .errors import MissieError", False),
        ("numerics/cox.py", "import pandas as pd", True),
        ("numerics/cox.py", "from missie_impact.flow import Flow", True),
        ("numerics/cox.py", "import math\nimport numpy as np\nfrom scipy import sparse\nfrom ..errors import E", False),
        ("effects/leaving/exit.py", "def f():\n    import matplotlib.pyplot as plt", True),
        ("report/figures.py", "def f():\n    import matplotlib.pyplot as plt", False),
    ],
)
def test_the_rule_itself(name: str, line: str, wrong: bool) -> None:
    assert bool(breaches(name, ast.parse(line))) is wrong
