"""What makes code hard to read, counted. The limits lie somewhat above the house rules (400 lines, 40 lines)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 450
FUNCTION_LINES = 60
PARAMETERS = 8
# One parameter per role of a researcher's own table, per table of the registers, per choice of a simulated regime, and
# per choice of an exit model.
WIDE_ON_PURPOSE = {
    "risksets/riskset.py: from_frame",
    "registers/tables.py: from_frames",
    "simulation/registers.py: simulate_registers",
    "effects/becoming/entry.py: market_entry",
    "effects/leaving/exit.py: market_exit",
    "effects/increase/group_time.py: group_time_effects",
    "effects/becoming/transition.py: structural_transition",
}
KEYWORDS_ARE_FIELDS = {"definitions.py: Definitions.replace"}  # as dataclasses.replace; unknown fields are an error

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def body_lines(node: Function) -> int:
    """Lines of a function without its docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def parameters(node: Function) -> int:
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(argument.arg not in {"self", "cls"} for argument in named)


def public(tree: ast.Module) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Public classes and functions of a module, and the public methods of its public classes."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if not isinstance(node, definitions) or node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                    yield f"{node.name}.{member.name}", member


def test_files_are_short(source: Path) -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in source.rglob("*.py")}
    assert {str(path.relative_to(source)): n for path, n in lines.items() if n > FILE_LINES} == {}


def test_functions_are_short(modules: dict[str, ast.Module]) -> None:
    long = {f"{name}: {f.name}": body_lines(f) for name, tree in modules.items() for f in functions(tree)}
    assert {name: n for name, n in long.items() if n > FUNCTION_LINES} == {}


def test_functions_take_few_parameters(modules: dict[str, ast.Module]) -> None:
    wide = {f"{name}: {f.name}": parameters(f) for name, tree in modules.items() for f in functions(tree)}
    assert {name: n for name, n in wide.items() if n > PARAMETERS and name not in WIDE_ON_PURPOSE} == {}


def test_public_functions_take_no_keyword_rest(modules: dict[str, ast.Module]) -> None:
    found = [
        f"{name}: {label}"
        for name, tree in modules.items()
        for label, node in public(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.kwarg
    ]
    assert set(found) <= KEYWORDS_ARE_FIELDS


def test_public_names_have_docstrings(modules: dict[str, ast.Module]) -> None:
    found = [
        f"{name}: {label}"
        for name, tree in modules.items()
        for label, node in public(tree)
        if ast.get_docstring(node) is None and not is_overload_or_registration(node)
    ]
    assert found == []


def is_overload_or_registration(node: Function | ast.ClassDef) -> bool:
    marks = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any(mark.endswith(("overload", ".setter")) or ".register" in mark for mark in marks)


def test_nothing_is_printed(modules: dict[str, ast.Module]) -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def test_underscore_names_stay_in_their_module(modules: dict[str, ast.Module]) -> None:
    found = [
        f"{name}: {alias.name}"
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("missie_impact"))
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert found == []


def test_defaults_are_immutable(modules: dict[str, ast.Module]) -> None:
    mutable = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    found = [
        f"{name}: {f.name}"
        for name, tree in modules.items()
        for f in functions(tree)
        for default in [*f.args.defaults, *f.args.kw_defaults]
        if isinstance(default, mutable)
    ]
    assert found == []


def test_user_input_is_not_checked_by_assert(modules: dict[str, ast.Module]) -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_the_counts_themselves() -> None:
    tree = ast.parse('def f(a, /, b, *, c=[], **rest):\n    """One.\n\n    Two.\n    """\n    print(a)\n    return b\n')
    (f,) = functions(tree)
    assert body_lines(f) == 3
    assert parameters(f) == 3
    assert [label for label, _ in public(tree)] == ["f"]
