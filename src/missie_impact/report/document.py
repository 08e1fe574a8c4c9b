"""Tables in a Word document, with the same words and numbers as on a page or in a workbook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    page.page_width, page.page_height = (Cm(29.7), Cm(21.0)) if wide else (Cm(21.0), Cm(29.7))
    page.orientation = WD_ORIENT.LANDSCAPE if wide else WD_ORIENT.PORTRAIT
    page.left_margin = page.right_margin = page.top_margin = page.bottom_margin = Cm(2)
    return document


def _add(document: Document, table: Table) -> None:
    cells = table.cells()
    document.add_heading(table.title, level=1)
    if table.simulated:
        document.add_paragraph().add_run(SIMULATED_IN[table.language]).bold = True
    _fill(document, cells)
    for note in (*cells.notes, *table.notes):
        _small(document.add_paragraph(), note)


def _add_terms(document: Document, tables: Sequence[Table], language: Language) -> None:
    terms = terms_of(table.frame for table in tables)
    if not terms:
        return
    document.add_heading(TERMS[language], level=1)
    rows = tuple((dutch, english, code) for code, (english, dutch) in terms.items())
    _fill(document, Cells(("Nederlands", "English", "code"), rows, (False, False, False), ()))


def _fill(document: Document, cells: Cells) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH

    drawn = document.add_table(rows=0, cols=len(cells.heads), style=STYLE)
    for texts in (cells.heads, *cells.rows):
        # Each look-up of a row's cells walks the whole table, so it is done once per row.
        for cell, text, right in zip(drawn.add_row().cells, texts, cells.numeric, strict=True):
            _small(cell.paragraphs[0], text)
            if right:
                cell.paragraphs[0].alignment = WD_ALIGN_PARAGRAPH.RIGHT
    _repeat_head(drawn)


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
