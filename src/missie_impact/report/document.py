"""Tables in a Word document, with the same words and numbers as on a page or in a workbook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from missie_impact.display import SIMULATED_IN
from missie_impact.errors import DependencyError, SettingsError
from missie_impact.report.labels import Language, terms_of
from missie_impact.report.tables import Cells, Table

if TYPE_CHECKING:
    from docx.document import Document

TERMS = {"en": "Terms", "nl": "Begrippen"}
STYLE = "Light List Accent 1"  # one of Word's own, so that a house style can replace it
WIDE = 6  # more columns than this need a page on its side
TURNED = 6  # rows that fit beside each other, where their columns do not
MARGIN_CM, LONG_SIDE_CM, SHORT_SIDE_CM = 2.0, 29.7, 21.0
LONGEST = 30  # characters: beyond it a text takes further lines, not a wider column
LETTER_CM, BORDERS_CM = 0.19, 0.45  # of the type in a table, and of a cell around its text


def write_document(
    path: str | Path,
    tables: Mapping[str, Table] | Sequence[Table],
    *,
    title: str,
    explanation: Sequence[str] = (),
    language: Language = "nl",
) -> Path:
    """Write tables into a Word document, to be taken over into a report without typing a number again.

    Each table is a Word table under its own heading, its head repeated on each page, its notes below it; the terms used
    close the document with their translation.

    Parameters
    ----------
    path : file to write, ending in .docx
    tables : in order; short names, as a workbook has them, are left out
    title : of the document
    explanation : paragraphs before the tables
    language : of the fixed words; a table keeps its own

    Raises
    ------
    SettingsError
        If there is no table, or the path does not end in .docx.
    DependencyError
        If python-docx is not installed.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import tempfile
    >>> import missie_impact as mi
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mi.write_document(f"{folder}/study.docx", [mi.flow_table(panel.flow, "nl")], title="Missies").name
    'study.docx'
    """
    path = Path(path)
    listed = list(tables.values()) if isinstance(tables, Mapping) else list(tables)
    if not listed:
        raise SettingsError("a document needs at least one table, found none.")
    if path.suffix != ".docx":
        raise SettingsError(f"path: expected a name that ends in .docx, found {path.suffix!r}.")
    document = _new_document(wide=any(table.frame.shape[1] > WIDE for table in listed))
    document.add_heading(title, level=0)
    if any(table.simulated for table in listed):
        document.add_paragraph().add_run(SIMULATED_IN[language]).bold = True
    for paragraph in explanation:
        document.add_paragraph(paragraph)
    for table in listed:
        _add(document, table)
    _add_terms(document, listed, language)
    path.parent.mkdir(parents=True, exist_ok=True)
    document.save(str(path))
    return path


def _new_document(*, wide: bool) -> Document:
    try:
        from docx import Document
        from docx.enum.section import WD_ORIENT
        from docx.shared import Cm
    except ImportError as error:
        raise DependencyError(
            'a Word document needs python-docx, which is not installed: pip install "missie-impact[word]".'
        ) from error
    document = Document()
    page = document.sections[0]
    sides = (LONG_SIDE_CM, SHORT_SIDE_CM) if wide else (SHORT_SIDE_CM, LONG_SIDE_CM)
    page.page_width, page.page_height = map(Cm, sides)
    page.orientation = WD_ORIENT.LANDSCAPE if wide else WD_ORIENT.PORTRAIT
    page.left_margin = page.right_margin = page.top_margin = page.bottom_margin = Cm(MARGIN_CM)
    return document


def _add(document: Document, table: Table) -> None:
    cells = _said(table.cells())
    document.add_heading(table.title, level=1)
    if table.simulated:
        document.add_paragraph().add_run(SIMULATED_IN[table.language]).bold = True
    room = _room_cm(document)
    for part in _parts(cells, room):
        _fill(document, part, room)
        document.add_paragraph()
    for note in (*cells.notes, *table.notes):
        _small(document.add_paragraph(), note)


def _add_terms(document: Document, tables: Sequence[Table], language: Language) -> None:
    terms = terms_of(table.frame for table in tables)
    if not terms:
        return
    document.add_heading(TERMS[language], level=1)
    rows = tuple((dutch, english, code) for code, (english, dutch) in terms.items())
    _fill(document, Cells(("Nederlands", "English", "code"), rows, (False, False, False), ()), _room_cm(document))


def _said(cells: Cells) -> Cells:
    """Leave out columns without a text in any row."""
    kept = [j for j in range(len(cells.heads)) if not cells.rows or any(row[j] for row in cells.rows)]
    return replace(_columns(cells, kept), notes=cells.notes)


def _room_cm(document: Document) -> float:
    width = document.sections[0].page_width
    return (SHORT_SIDE_CM if width is None else width.cm) - 2 * MARGIN_CM


def _parts(cells: Cells, room_cm: float) -> list[Cells]:
    """Make tables that fit a page: a few rows become columns; of many, the columns are cut, their first texts again."""
    least = _least_cm(cells)
    if sum(least) <= room_cm:
        return [cells]
    if len(cells.rows) <= TURNED:
        # the first column heads what now stand beside each other
        heads, *rows = zip(cells.heads, *cells.rows, strict=True)
        return [Cells(heads, tuple(rows), (False, *(True for _ in cells.rows)), ())]
    names = 1 + next((j for j, number in enumerate(cells.numeric[1:]) if number), 0)
    while names > 1 and sum(least[:names]) > room_cm / 2:
        names -= 1
    parts: list[list[int]] = []
    for j in range(names, len(least)):
        if not parts or sum(least[i] for i in (*parts[-1], j)) > room_cm:
            parts.append(list(range(names)))
        parts[-1].append(j)
    return [_columns(cells, part) for part in parts]


def _columns(cells: Cells, chosen: Sequence[int]) -> Cells:
    def some(row: Sequence[str]) -> tuple[str, ...]:
        return tuple(row[j] for j in chosen)

    return Cells(some(cells.heads), tuple(map(some, cells.rows)), tuple(cells.numeric[j] for j in chosen), ())


def _fill(document: Document, cells: Cells, room_cm: float) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.shared import Cm

    drawn = document.add_table(rows=0, cols=len(cells.heads), style=STYLE)
    drawn.autofit = False
    widths = [Cm(width) for width in _widths_cm(cells, room_cm)]
    for column, width in zip(drawn.columns, widths, strict=True):  # Word reads the cells, others the columns
        column.width = width
    for texts in (cells.heads, *cells.rows):
        # Each look-up of a row's cells walks the whole table, so it is done once per row.
        for cell, text, right, width in zip(drawn.add_row().cells, texts, cells.numeric, widths, strict=True):
            cell.width = width
            _small(cell.paragraphs[0], text)
            if right:
                cell.paragraphs[0].alignment = WD_ALIGN_PARAGRAPH.RIGHT
    _repeat_head(drawn)


def _least_cm(cells: Cells) -> list[float]:
    """Width of each column that breaks no word."""
    columns = zip(cells.heads, *cells.rows, strict=True)
    words = [max((len(word) for text in texts for word in text.split()), default=1) for texts in columns]
    return [LETTER_CM * word + BORDERS_CM for word in words]


def _widths_cm(cells: Cells, room_cm: float) -> list[float]:
    """Share the page: first what breaks no word, then the rest by the length of the texts."""
    least = _least_cm(cells)
    texts = zip(cells.heads, *cells.rows, strict=True)
    asked = [LETTER_CM * min(max(map(len, column)), LONGEST) + BORDERS_CM for column in texts]
    more = [max(wide - narrow, 0.0) for wide, narrow in zip(asked, least, strict=True)]
    left, scale = room_cm - sum(least), sum(more) or 1.0
    if left < 0:
        return [room_cm * width / sum(least) for width in least]
    return [narrow + min(left / scale, 1.0) * extra for narrow, extra in zip(least, more, strict=True)]


def _small(paragraph: Any, text: str) -> None:
    from docx.shared import Pt

    paragraph.paragraph_format.space_after = Pt(2)
    paragraph.add_run(text).font.size = Pt(8)


def _repeat_head(drawn: Any) -> None:
    """Ask Word to show the first row on each page; python-docx has no word of its own for it."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    head = OxmlElement("w:tblHeader")
    head.set(qn("w:val"), "true")
    drawn.rows[0]._tr.get_or_add_trPr().append(head)
