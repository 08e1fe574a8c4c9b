"""One table, shown as HTML, Markdown, LaTeX, plain text, CSV or JSON records. Its numbers are never changed."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from missie_impact.display import SIMULATED_IN, html_page, html_table, in_language, is_name, number_text
from missie_impact.errors import SettingsError
from missie_impact.report.labels import CODED, Language, label
from missie_impact.report.phrases import PHRASED, phrase

Format = Literal["csv", "json", "html", "md", "tex", "txt"]

LONGEST_CELL = 100  # characters of a text in a column; what is longer becomes a numbered note below the table


@dataclass(frozen=True, slots=True)
class Cells:
    """Texts of a table as people read them.

    Attributes
    ----------
    heads : words of the columns
    rows : one text per column
    numeric : whether a column holds numbers, which stand to the right
    notes : texts too long for a cell, which holds their number: "[1]"
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of results with what a reader must know beside it.

    Made by :func:`table` and the tables of single results.

    Attributes
    ----------
    frame : the numbers, under the names of the tidy vocabulary; shown in the order of its columns. Terms in the columns
        group and scale are put into words where people read them, and left as they are in CSV and JSON
    title : one line above the table
    notes : lines below it
    simulated : the table comes from simulated registers, which every rendering then says first
    language : language of column heads, groups, scales, steps of a flow and fixed remarks; texts that the catalogues do
        not hold stay as they are
    """

    frame: pd.DataFrame
    title: str = ""
    notes: tuple[str, ...] = ()
    simulated: bool = False
    language: Language = "en"

    def to_html(self, *, page: bool = False) -> str:
        """Return HTML: a block for a notebook or, with ``page``, a whole page that needs no network."""
        heads = dict(zip(map(str, self.frame.columns), self._heads(), strict=True))
        title = "" if page else self.title
        frame, long_texts = _short_frame(self.worded())
        notes = (*long_texts, *self.notes)
        block = html_table(
            frame, title=title, notes=notes, simulated=self.simulated, heads=heads, language=self.language
        )
        return html_page(self.title, block, language=self.language) if page else block

    def to_markdown(self) -> str:
        """Return a pipe table with title, the line on simulated registers, and notes."""
        rows = [[_pipe_safe(cell) for cell in row] for row in self._texts()]
        head = [_pipe_safe(word) for word in self._heads()]
        ruler = ["---:" if right else "---" for right in self._numeric()]
        lines = ["| " + " | ".join(row) + " |" for row in (head, ruler, *rows)]
        parts = [f"## {self.title}"] if self.title else []
        parts += [f"**{SIMULATED_IN[self.language]}**"] if self.simulated else []
        return "\n\n".join([*parts, "\n".join(lines), *self.notes]) + "\n"

    def to_latex(self) -> str:
        """Return a LaTeX table (booktabs), its title as caption and its notes below; texts are escaped."""
        columns = "".join("r" if right else "l" for right in self._numeric())
        rows = [" & ".join(map(_latex_safe, row)) + r" \\" for row in (self._heads(), *self._texts())]
        notes = [*([SIMULATED_IN[self.language]] if self.simulated else []), *self.notes]
        lines = [
            r"\begin{table}[htbp]",
            *([rf"\caption{{{_latex_safe(self.title)}}}"] if self.title else []),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}",
            *(rf"\par\footnotesize {_latex_safe(note)}" for note in notes),
            r"\end{table}",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def to_text(self) -> str:
        """Return lines for a terminal: fixed-width columns, numbers to the right, long texts as numbered notes."""
        cells = self.cells()
        rows = [list(cells.heads), *map(list, cells.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(cells.heads))]
        numeric, long_texts = cells.numeric, list(cells.notes)
        lines = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        first = [*([SIMULATED_IN[self.language]] if self.simulated else []), *([self.title] if self.title else [])]
        blocks = [first, lines, long_texts, list(self.notes)]
        return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"

    def cells(self) -> Cells:
        """Return the texts of the table as people read them, long ones as numbered notes."""
        rows, notes = _numbered(self._texts())
        return Cells(tuple(self._heads()), tuple(map(tuple, rows)), tuple(self._numeric()), tuple(notes))

    def to_records(self) -> list[dict[str, object]]:
        """Return one dict per row for JSON: plain numbers and texts, None where a value is missing or not finite."""
        columns = [str(column) for column in self.frame.columns]
        rows = self.frame.itertuples(index=False, name=None)
        return [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]

    def to_csv(self) -> str:
        """Return CSV with a point as decimal mark, numbers in full precision; missing is empty."""
        return str(self.frame.to_csv(index=False, lineterminator="\n"))

    def to_json(self) -> str:
        """Return the records as JSON text."""
        return json.dumps(self.to_records(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _heads(self) -> list[str]:
        return [label(str(column), self.language) for column in self.frame.columns]

    def worded(self) -> pd.DataFrame:
        """Return the frame with its terms and fixed sentences in the language of the table."""
        coded = {c: label for c in self.frame.columns if c in CODED}
        texts = {c: phrase for c in self.frame.columns if c in PHRASED and self.language != "en"}
        worded = {
            name: [words(value, self.language) if isinstance(value, str) else value for value in self.frame[name]]
            for name, words in (coded | texts).items()
        }
        return self.frame.assign(**worded)

    def _numeric(self) -> list[bool]:
        return [pd.api.types.is_numeric_dtype(self.frame.iloc[:, i]) for i in range(self.frame.shape[1])]

    def _texts(self) -> list[list[str]]:
        separators = ["" if is_name(str(column)) else "," for column in self.frame.columns]
        return [
            [
                in_language(number_text(value, separator=separator), value, self.language)
                for value, separator in zip(row, separators, strict=True)
            ]
            for row in self.worded().itertuples(index=False, name=None)
        ]

    def _repr_html_(self) -> str:
        return self.to_html()


def write_table(
    table: Table, folder: str | Path, name: str, formats: Sequence[Format] = ("json", "csv", "html")
) -> tuple[Path, ...]:
    """Write a table in several formats as ``folder/name.format``, making the folder, and return the paths.

    Raises
    ------
    SettingsError
        If a format is not known.
    """
    unknown = sorted(set(formats) - set(get_args(Format)))
    if unknown:
        raise SettingsError(f"unknown formats {unknown}: expected some of {list(get_args(Format))}.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in formats:
        path = folder / f"{name}.{kind}"
        path.write_text(_render(table, kind), encoding="utf-8", newline="\n")
        paths.append(path)
    return tuple(paths)


def _render(table: Table, kind: Format) -> str:
    if kind == "csv":
        return table.to_csv()
    if kind == "json":
        return table.to_json()
    if kind == "html":
        return table.to_html(page=True)
    if kind == "tex":
        return table.to_latex()
    return table.to_markdown() if kind == "md" else table.to_text()


def _numbered(rows: list[list[str]]) -> tuple[list[list[str]], list[str]]:
    """Replace texts too long for a column by [1], [2], ...; equal texts share a number."""
    numbers: dict[str, int] = {}
    for text in itertools.chain.from_iterable(rows):
        if len(text) > LONGEST_CELL:
            numbers.setdefault(text, len(numbers) + 1)
    short = [[f"[{numbers[text]}]" if text in numbers else text for text in row] for row in rows]
    return short, [f"[{number}] {text}" for text, number in numbers.items()]


def _short_frame(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Replace long texts of the columns that hold texts by the numbers of their notes."""
    texts = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]
    rows = [[v if isinstance(v, str) else "" for v in row] for row in frame[texts].itertuples(index=False, name=None)]
    short, notes = _numbered(rows)
    columns = {
        name: [text if isinstance(value, str) else value for text, value in zip(found, frame[name], strict=True)]
        for name, found in zip(texts, zip(*short, strict=True), strict=True)
    }
    return frame.assign(**columns) if notes else frame, notes


def _plain(value: object) -> object:
    if isinstance(value, str) or value is None:
        return value
    if value is pd.NA or value is pd.NaT:
        return None
    item = getattr(value, "item", None)  # numpy scalars know their Python equal
    value = item() if callable(item) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int) else str(value)


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def _latex_safe(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _pipe_safe(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
