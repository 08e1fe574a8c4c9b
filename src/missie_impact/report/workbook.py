"""An Excel workbook in the form of Statistics Netherlands: contents, explanation, a sheet per table, terms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from missie_impact.display import SIMULATED_IN, is_name
from missie_impact.errors import DependencyError, SettingsError
from missie_impact.report.labels import Language, label, terms_of
from missie_impact.report.tables import Table

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

SHEETS = {"en": ("Contents", "Explanation", "Table", "Terms"), "nl": ("Inhoud", "Toelichting", "Tabel", "Begrippen")}
SIGNS = {
    "en": (
        (".", "unknown, unreliable or secret"),
        ("-", "nil"),
        ("*", "provisional figure"),
        ("empty", "a figure cannot occur on logical grounds"),
    ),
    "nl": (
        (".", "onbekend, onvoldoende betrouwbaar of geheim"),
        ("-", "nihil"),
        ("*", "voorlopig cijfer"),
        ("leeg", "een cijfer kan op logische gronden niet voorkomen"),
    ),
}
ROUNDING = {
    "en": "Totals may differ from the sum of their parts by rounding.",
    "nl": "Door afronding kan een totaal verschillen van de som van de delen.",
}
UNKNOWN, NIL = ".", "-"
ESTIMATES = ("estimate", "conf_low", "conf_high", "std_error", "truth", "published")  # ratios and percentages mixed
FIRST_ROW = 4  # title, line on simulated registers, blank, heads
WIDEST, PAGE = 60, 110  # characters: of a column, and of the explanation
LINE = 14.5  # points of type of a line in a cell
FEW_DIGITS = 10  # from here on one decimal will do


def write_workbook(
    path: str | Path,
    tables: Mapping[str, Table] | Sequence[Table],
    *,
    title: str,
    explanation: Sequence[str] = (),
    provisional: Sequence[str] = (),
    language: Language = "nl",
) -> Path:
    """Write tables as one workbook, numbers as numbers.

    Sheets: contents with links, explanation (signs, notes), one per table, terms used with their translation. A missing
    number is ".", a count or amount of exactly zero "-".

    Parameters
    ----------
    path : file to write, ending in .xlsx
    tables : by short name, or in order
    title : on the first sheet
    explanation : paragraphs for the explanation
    provisional : columns whose figures are provisional; their heads get a star

    Raises
    ------
    SettingsError
        If there is no table, or the path does not end in .xlsx.
    DependencyError
        If openpyxl is not installed.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import tempfile
    >>> import missie_impact as mi
    >>> tables = {"flow": mi.flow_table(panel.flow, "nl")}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mi.write_workbook(f"{folder}/study.xlsx", tables, title="Missies").name
    'study.xlsx'
    """
    path = Path(path)
    named = dict(tables) if isinstance(tables, Mapping) else {f"{i + 1}": t for i, t in enumerate(tables)}
    if not named:
        raise SettingsError("a workbook needs at least one table, found none.")
    if path.suffix != ".xlsx":
        raise SettingsError(f"path: expected a name that ends in .xlsx, found {path.suffix!r}.")
    book = _new_workbook()
    contents, explained, word, terms = SHEETS[language]
    sheets = {name: f"{word} {name}"[:31] for name in named}
    simulated = any(table.simulated for table in named.values())
    _contents(book.create_sheet(contents), title, {sheets[n]: t.title for n, t in named.items()}, language, simulated)
    notes = [f"{sheets[n]}: {note}" for n, table in named.items() for note in table.notes]
    _explanation(book.create_sheet(explained), [*explanation, *notes], language, simulated)
    for name, table in named.items():
        _table(book.create_sheet(sheets[name]), table, frozenset(provisional), language)
    _terms(book.create_sheet(terms), named.values(), language)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path


def _new_workbook() -> Workbook:
    try:
        from openpyxl import Workbook
    except ImportError as error:
        raise DependencyError(
            'an Excel workbook needs openpyxl, which is not installed: pip install "missie-impact[excel]".'
        ) from error
    book = Workbook()
    for sheet in list(book.worksheets):
        book.remove(sheet)
    return book


def _contents(sheet: Worksheet, title: str, titles: Mapping[str, str], language: Language, simulated: bool) -> None:
    from openpyxl.worksheet.hyperlink import Hyperlink

    _lines(sheet, [title, _simulated_line(simulated, language), ""])
    names = [*SHEETS[language][1:2], *titles, SHEETS[language][3]]
    for row, name in enumerate(names, start=4):
        cell: Any = sheet.cell(row, 1, name)
        cell.hyperlink = Hyperlink(ref=cell.coordinate, location=f"'{name}'!A1")
        cell.style = "Hyperlink"
        sheet.cell(row, 2, titles.get(name, ""))
    _widths(sheet)


def _explanation(sheet: Worksheet, paragraphs: Sequence[str], language: Language, simulated: bool) -> None:
    signs = [f"{sign} = {meaning}" for sign, meaning in SIGNS[language]]
    head = SHEETS[language][1]
    _lines(sheet, [head, _simulated_line(simulated, language), "", *paragraphs, "", *signs, ROUNDING[language]])
    sheet.column_dimensions["A"].width = PAGE
    for (line,) in sheet.iter_rows(min_row=2, max_col=1):
        _fold(sheet, line, PAGE)
    _on_paper(sheet)


def _table(sheet: Worksheet, table: Table, provisional: frozenset[str], language: Language) -> None:
    _lines(sheet, [table.title, _simulated_line(table.simulated, language), ""])
    frame = replace(table, language=language).worded()
    for j, column in enumerate(map(str, frame.columns), start=1):
        star = "*" if column in provisional else ""
        top: Any = sheet.cell(FIRST_ROW, j, label(column, language) + star)
        numeric = pd.api.types.is_numeric_dtype(frame[column]) and not pd.api.types.is_bool_dtype(frame[column])
        top.font, top.alignment = _bold(), _right() if numeric else _wrapped(j > 1)
        shape = _format(frame[column], column) if numeric else ""
        for i, value in enumerate(frame[column].tolist(), start=FIRST_ROW + 1):
            written = _number(value, column) if numeric else _text(value)
            _write(sheet, i, j, written, shape)
    sheet.freeze_panes = f"A{FIRST_ROW + 1}"
    sheet.print_title_rows = f"{FIRST_ROW}:{FIRST_ROW}"
    _widths(sheet)
    for row in sheet.iter_rows(min_row=FIRST_ROW + 1):
        for cell in row:
            if isinstance(cell.value, str) and len(cell.value) > WIDEST:
                _fold(sheet, cell, WIDEST)
    _on_paper(sheet)


def _format(values: pd.Series[Any], column: str) -> str:
    """One format for all numbers of a column, so that their decimal marks stand under each other."""
    if pd.api.types.is_integer_dtype(values):
        return "0" if is_name(column) else "#,##0"
    if column.startswith("n_") or column == "time":
        return "#,##0"
    if column == "p_value":
        return "0.0000"
    largest = values.astype(float).abs().replace(math.inf, math.nan).max()
    return "#,##0.0" if largest >= FEW_DIGITS and column not in ESTIMATES else "#,##0.000"


def _write(sheet: Worksheet, row: int, place: int, value: Any, shape: str) -> None:
    cell: Any = sheet.cell(row, place, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        cell.number_format = shape or "General"
    cell.alignment = _right() if shape else _top(place > 1)


def _fold(sheet: Worksheet, cell: Any, width: int) -> None:
    """Break a long text into lines; the height is written too, for programs that do not find it themselves."""
    cell.alignment = _wrapped(cell.column > 1)
    lines = math.ceil(len(str(cell.value or "")) / (0.9 * width)) or 1
    sheet.row_dimensions[cell.row].height = max(sheet.row_dimensions[cell.row].height or 0.0, LINE * lines)


def _on_paper(sheet: Worksheet) -> None:
    """Print a sheet on its side, all columns on one page."""
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", 9  # A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr = _fit()


def _terms(sheet: Worksheet, tables: Any, language: Language) -> None:
    _lines(sheet, [SHEETS[language][3], "", ""])
    for j, name in enumerate(("Nederlands", "English", "code"), start=1):
        sheet.cell(FIRST_ROW, j, name).font = _bold()
    terms = terms_of(table.frame for table in tables)
    for i, (term, (english, dutch)) in enumerate(terms.items(), start=FIRST_ROW + 1):
        for j, text in enumerate((dutch, english, term), start=1):
            sheet.cell(i, j, text)
    _widths(sheet)
    _on_paper(sheet)


def _number(value: Any, column: str) -> int | float | str:
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return UNKNOWN
    number = int(value) if float(value).is_integer() and not isinstance(value, float) else float(value)
    counted = column.startswith("n_") or column.endswith("_eur") or column in ("rows", "firms", "participants")
    return NIL if counted and number == 0 else number


def _text(value: Any) -> str | bool:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, bool) else str(value)


def _simulated_line(simulated: bool, language: Language) -> str:
    return SIMULATED_IN[language] if simulated else ""


def _lines(sheet: Worksheet, lines: Sequence[str]) -> None:
    for i, line in enumerate(lines, start=1):
        sheet.cell(i, 1, line)
    sheet.cell(1, 1).font = _bold(14)
    sheet.cell(2, 1).font = _bold()


def _widths(sheet: Worksheet) -> None:
    from openpyxl.utils import get_column_letter

    for j, cells in enumerate(sheet.iter_cols(min_row=FIRST_ROW), start=1):
        longest = max((len(str(c.value)) for c in cells if c.value is not None), default=8)
        sheet.column_dimensions[get_column_letter(j)].width = min(max(longest + 3, 10), WIDEST)


def _fit() -> Any:
    from openpyxl.worksheet.properties import PageSetupProperties

    return PageSetupProperties(fitToPage=True)


def _bold(size: int = 11) -> Any:
    from openpyxl.styles import Font

    return Font(bold=True, size=size)


def _wrapped(indent: bool = False) -> Any:
    from openpyxl.styles import Alignment

    return Alignment(wrap_text=True, horizontal="left", vertical="top", indent=int(indent))


def _top(indent: bool) -> Any:
    """Set text apart from the numbers to its left."""
    from openpyxl.styles import Alignment

    return Alignment(horizontal="left", vertical="top", indent=int(indent))


def _right() -> Any:
    from openpyxl.styles import Alignment

    return Alignment(horizontal="right", vertical="top")
