"""Sphinx extension: parts of pages that would be wrong soon if they were written by hand, and links to the reference.

Writes ``docs/generated/`` before the pages are read: the reference of all public names by room, definitions, words of
the catalogue, the table of coverage and the list of reference data.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from docutils import nodes
from notebook_pages import notebook_pages
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform

import missie_impact as mi
from missie_impact import errors
from missie_impact.definitions import SIZE_SCHEMES
from missie_impact.report.labels import CATALOGUE

DOCS = Path(__file__).parents[1]
GENERATED = DOCS / "generated"
SOURCES = DOCS.parent / "tests" / "data" / "SOURCES.md"
TESTS = DOCS.parent / "tests"
COVERAGE = DOCS / "validation" / "coverage.csv"
INCREASE = DOCS / "validation" / "increase_coverage.csv"

# Rooms in the order in which a study passes through them.
ROOMS = {
    "registers": "Registers: reading and checking",
    "simulation": "Simulated registers",
    "definitions": "Definitions",
    "panel": "Panel: status and spells",
    "risksets": "Risk sets",
    "design": "Design: matching, weighting, balance",
    "effects": "Effects",
    "indicator": "Budget indicator",
    "validity": "Validity: placebos, sensitivity, specification curve",
    "report": "Report: figures and tables",
    "study": "Study: the published table",
    "published": "Published figures",
    "errors": "Errors",
}


def public_names() -> dict[str, list[str]]:
    """Names of ``missie_impact.__all__`` by room."""
    rooms: dict[str, list[str]] = {room: [] for room in ROOMS}
    for name in sorted(mi.__all__, key=str.lower):
        value = getattr(mi, name)
        home = getattr(value, "__module__", None) or ""
        room = home.split(".")[1] if home.startswith("missie_impact.") else "definitions"
        rooms.setdefault(room, []).append(name)
    return {room: names for room, names in rooms.items() if names}


def write_pages(_: Sphinx | None = None) -> None:
    """Write every generated part; a part that has not changed is left alone, so that builds stay short."""
    parts = {f"api/{room}.md": room_page(room, names) for room, names in public_names().items()}
    parts |= {
        "api_rooms.md": rooms_part(),
        "definitions.md": definitions_part(),
        "size_schemes.md": pipe_table(pd.DataFrame({"scheme": SIZE_SCHEMES.keys(), "rule": SIZE_SCHEMES.values()})),
        "catalogue.md": catalogue_part(),
        "coverage.md": coverage_part(COVERAGE),
        "coverage_of_increase.md": increase_part(INCREASE, "export_increase"),
        "coverage_of_counterfactual.md": increase_part(INCREASE, "counterfactual_indicator"),
        "reference_data.md": reference_part(),
    }
    parts |= notebook_pages(GENERATED)
    for name, text in parts.items():
        path = GENERATED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in list(GENERATED.rglob("*.md")):
        if path.relative_to(GENERATED).as_posix() not in parts:  # a room or part that is no more
            path.unlink()


# ---- reference ------------------------------------------------------------------------------------------------------


def first_line(value: object) -> str:
    """First sentence of a docstring, on one line."""
    paragraph = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", paragraph).replace("``", "`")


def kind(name: str) -> str:
    """Heading under which a name stands on its page."""
    value = getattr(mi, name)
    if not inspect.isclass(value):
        return "Functions" if callable(value) else "Values"
    if issubclass(value, Exception):
        return "Errors"
    return "Results and settings"


def room_page(room: str, names: list[str]) -> str:
    """Reference of one room: a linked list of names, then each in full."""
    summary = pd.DataFrame(
        [
            {"name": f"{{py:obj}}`{name} <missie_impact.{name}>`", "what for": _summary(name)}
            for heading in ("Functions", "Values", "Results and settings", "Errors")
            for name in names
            if kind(name) == heading
        ]
    )
    parts = [f"# {ROOMS.get(room, room)}", pipe_table(summary, code=False)]
    for heading in ("Functions", "Values", "Results and settings", "Errors"):
        inside = [name for name in names if kind(name) == heading]
        if inside:
            parts += [f"## {heading}", *map(directive, inside)]
    if room == "errors":
        parts += ["## One class per cause", "All are kinds of `MissieError`.", pipe_table(error_classes())]
    return "\n\n".join(parts) + "\n"


def _summary(name: str) -> str:
    value = getattr(mi, name)
    if isinstance(value, tuple):
        return "The controls used when none are named."
    if not inspect.isclass(value) and not callable(value):
        return f"The {type(value).__name__} of this name."
    return first_line(value)


def directive(name: str) -> str:
    """The directive that writes a name's docstring."""
    value = getattr(mi, name)
    if not inspect.isclass(value) and not callable(value):
        shown = "\n".join(f"   | {item}" for item in value) if isinstance(value, tuple) else ""
        return f"```{{eval-rst}}\n.. py:data:: missie_impact.{name}\n\n   {_summary(name)}\n\n{shown}\n```"
    role = "autoclass" if inspect.isclass(value) else "autofunction"
    options = "   :members:\n" if role == "autoclass" and not issubclass(value, Exception) else ""
    return f"```{{eval-rst}}\n.. {role}:: missie_impact.{name}\n{options}```"


def error_classes() -> pd.DataFrame:
    """Every class of error with what it is raised for."""
    found = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, mi.MissieError)]
    return pd.DataFrame([{"error": c.__name__, "raised for": first_line(c)} for c in found if c is not mi.MissieError])


def rooms_part() -> str:
    """One line per room with its names, linked, and the table of contents."""
    rows = [
        {
            "room": f"[{ROOMS.get(room, room)}](generated/api/{room}.md)",
            "names": ", ".join(f"{{py:obj}}`{n} <missie_impact.{n}>`" for n in names),
        }
        for room, names in public_names().items()
    ]
    toctree = "\n".join(f"generated/api/{room}" for room in public_names())
    return (
        pipe_table(pd.DataFrame(rows), code=False) + f"\n\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{toctree}\n```\n"
    )


# ---- definitions and words ------------------------------------------------------------------------------------------


def definitions_part() -> str:
    """Every rule with value, options, status and source; six columns would not fit a page."""
    rules = mi.Definitions().describe()
    counts = ", ".join(f"{n} {status}" for status, n in rules["status"].value_counts().items())
    shown = pd.DataFrame(
        {
            "name": rules["name"],
            "value": rules["value"],
            "rule": [
                f"{rule} ({options.replace(', ', ' / ')})" if options else rule
                for rule, options in zip(rules["rule"], rules["options"], strict=True)
            ],
            "status": [
                f"{status}: {source}" if source else status
                for status, source in zip(rules["status"], rules["source"], strict=True)
            ],
        }
    )
    return f"{len(rules)} rules: {counts}. Options stand behind the rule, between brackets.\n\n{pipe_table(shown)}\n"


def catalogue_part() -> str:
    """Words of the tables and figures, English beside Dutch, in the order of the Dutch words."""
    rows = [{"Dutch": dutch, "English": english, "in columns": f"`{term}`" if term.isidentifier() else ""}
            for term, (english, dutch) in CATALOGUE.items()]  # fmt: skip
    table = pd.DataFrame(rows).drop_duplicates(["Dutch", "English"])
    return pipe_table(table.sort_values("Dutch", key=lambda words: words.str.lower()), code=False) + "\n"


# ---- validation -----------------------------------------------------------------------------------------------------


def coverage_part(path: Path) -> str:
    """Cross tables of regime and estimator, or how to make them."""
    if not path.exists():
        return (
            "The numbers are not part of this build. `make validate` computes them (long; it goes on where it was\n"
            "stopped) and writes `validation-output/coverage.csv`; copied to `docs/validation/coverage.csv` it\n"
            "appears here as two tables, bias and coverage, estimators by regime.\n"
        )
    table = pd.read_csv(path)
    if "group" in table:
        table = table[table["group"] == "all"]
    table["row"] = table["estimator"] + ": " + table["estimand"]
    table["bias_cell"] = [
        f"{r.bias:+.3f} ± {r.bias_error:.3f}{'' if r.unbiased else ' ✗'}" if r.draws > 1 else "no estimate"
        for r in table.itertuples()
    ]
    table["coverage_cell"] = [
        f"{100 * r.coverage:.1f}%{'' if r.covers else ' ✗'} ({r.draws}{f', {r.failed} failed' if r.failed else ''})"
        if r.draws
        else "no estimate"
        for r in table.itertuples()
    ]
    fewest = int((table["draws"] + table["failed"]).min())
    few = f"**At the least {fewest:,} registers: under 1,000 nothing counts as accepted.** " if fewest < 1000 else ""
    return (
        f"Simulated registers. {few}Registers without an estimate are left out and counted: where they are many, the\n"
        "figures describe the registers that happened to have one.\n\n"
        "Bias (ratios: of the logarithm) with its Monte-Carlo error; ✗ fails the rule:\n\n"
        + crossed(table, "bias_cell")
        + "\n\nCoverage of the 95% intervals (number of registers with an estimate):\n\n"
        + crossed(table, "coverage_cell")
        + "\n"
    )


def increase_part(path: Path, function: str) -> str:
    """Bias and coverage of one function over registers, by regime and effect."""
    table = pd.read_csv(path)
    table = table[table["estimator"].str.startswith(function)]
    lines = [
        {
            "regime": f"`{row.regime}`",
            "effect": "none" if row.planted == "none" else "planted",
            "estimate": " ".join(f"`{part}`" for part in str(row.estimator).removeprefix(f"{function}, ").split(", "))
            + (f" `{row.estimand}`" if function == "counterfactual_indicator" else ""),
            "truth": measured(row.truth),
            "registers": f"{row.draws:,}" + (f" ({row.failed} more without an estimate)" if row.failed else ""),
            "bias": f"{measured(row.bias, sign=True)} ± {measured(row.bias_error)}{'' if row.unbiased else ' ✗'}",
            "95% interval holds the truth": f"{100 * row.coverage:.1f}%{'' if row.covers else ' ✗'}",
        }
        for row in table.itertuples()
    ]
    return pipe_table(pd.DataFrame(lines), code=False) + "\n"


def measured(value: float, *, sign: bool = False) -> str:
    """A number as its size asks for: whole from a hundred on, else three decimals."""
    return f"{value:{'+' if sign else ''},.{0 if abs(value) >= 100 else 3}f}"


def crossed(table: pd.DataFrame, cell: str) -> str:
    """Estimators down, regimes across, in the order of the file."""
    wide = table.pivot(index="row", columns="regime", values=cell)
    wide = wide.loc[table["row"].unique(), table["regime"].unique()].fillna("").reset_index()
    return pipe_table(wide.rename(columns={"row": "estimator: estimand"}), code=False)


def reference_part() -> str:
    """Reference cases of the tests, from their list of sources, with the tests that read each."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in SOURCES.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| case")
    ]
    texts = {p.relative_to(TESTS).as_posix(): p.read_text(encoding="utf-8") for p in sorted(TESTS.rglob("test_*.py"))}
    shared = {p.parent: p.read_text(encoding="utf-8") for p in TESTS.rglob("conftest.py")}
    table = [
        {"case": row[0], "source": row[1], "licence": row[2], "tests": ", ".join(readers(row[0], texts, shared))}
        for row in rows
    ]
    return pipe_table(pd.DataFrame(table)) + "\n"


def readers(case: str, texts: dict[str, str], shared: dict[Path, str]) -> Iterable[str]:
    """Test files that name a case, themselves or through the fixtures of their folder."""
    direct = [f"`{name}`" for name, text in texts.items() if case in text]
    folders = [f"`{path.name}/`" for path, text in shared.items() if case in text]
    return [*folders, *direct]


def pipe_table(frame: pd.DataFrame, *, code: bool = True) -> str:
    """A Markdown table; the first column in code unless said otherwise."""

    def cell(value: object) -> str:
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        return text.replace("|", "\\|")

    rows = [[cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    if code:
        rows = [[f"`{row[0]}`", *row[1:]] for row in rows]
    head = [list(map(str, frame.columns)), ["---"] * frame.shape[1]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [*head, *rows])


# ---- links ----------------------------------------------------------------------------------------------------------


class LinkPublicNames(SphinxTransform):
    """Make ``mi.match``, ``match(...)`` and ``market_exit`` in running text links to the reference.

    A bare word without underscore or capital (``weight``, ``table``) may be a column as well and stays as it is.
    """

    default_priority = 400
    pattern = re.compile(r"^(mi\.)?([A-Za-z_0-9]+)(\(.*\))?$", re.DOTALL)

    def apply(self, **_: Any) -> None:
        """Wrap literals that name something public."""
        for literal in list(self.document.findall(nodes.literal)):
            found = self.pattern.match(literal.astext())
            if not found or found[2] not in mi.__all__ or self._stands_alone(literal):
                continue
            plain = found[2].islower() and "_" not in found[2]
            if plain and not (found[1] or found[3]):
                continue
            link = pending_xref(
                "", refdomain="py", reftype="obj", reftarget=f"missie_impact.{found[2]}", refexplicit=True,
                refwarn=False, refdoc=self.env.docname,
            )  # fmt: skip
            literal.replace_self(link)
            link += literal

    @staticmethod
    def _stands_alone(literal: nodes.literal) -> bool:
        parent: nodes.Node | None = literal.parent
        while parent is not None:
            if isinstance(parent, nodes.reference | nodes.title | pending_xref):
                return True
            parent = parent.parent
        return False


def link_types(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement) -> Any:
    """Types in signatures name the module that holds a class; the reference names the door."""
    target = str(node.get("reftarget", ""))
    name = target.rsplit(".", 1)[-1]
    if node.get("refdomain") != "py" or name not in mi.__all__ or target == f"missie_impact.{name}":
        return None
    domain = env.get_domain("py")
    resolve: Callable[..., Any] = domain.resolve_xref
    return resolve(env, node["refdoc"], app.builder, "obj", f"missie_impact.{name}", node, contnode)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("missing-reference", link_types)
    app.add_transform(LinkPublicNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
