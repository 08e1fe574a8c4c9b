"""Every public name shows how it is used, and what it shows runs."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import missie_impact as mi

# What an example may take as given; its text then says "``panel`` as made by".
GIVEN = ("registers", "panel", "replication")
PUBLIC = {name: value for name in sorted(mi.__all__) if callable(value := getattr(mi, name))}
MADE_BY = re.compile(r"Made by :(?:func|meth):`([\w.]+)`")


@pytest.fixture(scope="module")
def registers() -> Iterator[mi.Registers]:
    with mi.simulate_registers(seed=1, firms=4_000, progress=False) as registers:
        yield registers


@pytest.fixture(scope="module")
def panel(registers: mi.Registers) -> mi.Panel:
    return mi.build_panel(registers)


@pytest.fixture(scope="module")
def replication(registers: mi.Registers) -> Any:
    """What the example of ``replicate`` makes: the study is run once."""
    return run("replicate", {"registers": registers})["replication"]


def examples_of(name: str) -> list[doctest.DocTest]:
    """The examples in the docstring of a public name, and in those of its methods."""
    found = doctest.DocTestFinder(exclude_empty=True).find(PUBLIC[name], name, module=False, globs={})
    return [test for test in found if test.examples]


def maker(value: Any) -> Any:
    """What makes a class of results, where its docstring names it; None otherwise."""
    named = MADE_BY.search(inspect.getdoc(value) or "")
    if not inspect.isclass(value) or named is None:
        return None
    first, *rest = named[1].split(".")
    made_by = getattr(mi, first)
    for part in rest:
        made_by = getattr(made_by, part)
    return made_by


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_has_an_example_or_is_made_by_one_that_has(name: str) -> None:
    value = PUBLIC[name]
    has_example = re.search(r"^Examples\n--------\n", inspect.getdoc(value) or "", re.MULTILINE) is not None
    assert has_example or callable(maker(value))
    assert not has_example or examples_of(name)


def test_public_values_are_tuples_or_of_a_public_class() -> None:
    values = [getattr(mi, name) for name in mi.__all__ if name not in PUBLIC]
    assert all(isinstance(value, tuple) or type(value).__name__ in PUBLIC for value in values)


def run(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run the examples of a public name and return the names they leave behind."""
    runner = doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    left: dict[str, Any] = {}
    for test in examples_of(name):
        test.globs.update(given)
        runner.run(test, out=report.append, clear_globs=False)
        left |= test.globs
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
    return left


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "replicate" and examples_of(name)])
def test_examples_run(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    texts = "\n".join(test.docstring or "" for test in examples_of(name))
    run(name, {word: request.getfixturevalue(word) for word in GIVEN if f"``{word}`` as made by" in texts})


def test_example_of_the_study_runs(replication: Any) -> None:
    assert isinstance(replication, mi.Replication)
