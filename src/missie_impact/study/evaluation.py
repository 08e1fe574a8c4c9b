"""The study as an evaluation report: one page that needs no network, in the order Dutch standards ask for.

The order follows the evaluation rules of the Dutch government (Regeling periodiek evaluatieonderzoek 2022), the
committee-Theeuwes ("Durf te meten", 2012) and the Maryland scale. What the data cannot say is said to be missing.
"""

from __future__ import annotations

import base64
import math
import tomllib
from collections.abc import Iterable
from functools import partial
from html import escape
from importlib import resources
from pathlib import Path

import pandas as pd

from missie_impact.display import html_page, html_table
from missie_impact.published import published_figure
from missie_impact.report import Language, Table, flow_table, label, plot, register_line
from missie_impact.report.claims import claim, level_of
from missie_impact.report.figures.plot import png_of
from missie_impact.report.phrases import phrase
from missie_impact.study.records import CONF_LEVEL, Replication, ReplicationRow

INTERVALS = {"en": " intervals", "nl": "-intervallen"}
RESULT_COLUMNS = ["label", "group", "scale", "published", "estimate", "conf_low", "conf_high", "truth", "n_treated",
                  "n_events", "reason"]  # fmt: skip


def evaluation_report(replication: Replication, language: Language = "nl") -> str:
    """Return the study as a self-contained HTML page in the order of the Dutch evaluation standards.

    Every sentence on a result is made from its number, carries interval, count and level of the design, and uses a
    causal verb only where that level carries it.

    Parameters
    ----------
    replication : the study on one set of registers
    language : "nl" or "en"

    Examples
    --------
    ``replication`` as made by :func:`replicate`:

    >>> import missie_impact as mi
    >>> page = mi.evaluation_report(replication, language="en")
    >>> page.startswith("<!DOCTYPE html>")
    True
    """
    words = tomllib.loads(resources.files("missie_impact.study").joinpath("report.toml").read_text("utf-8"))
    blocks = _blocks(replication, language, words["figure"][language])
    contents, body = [], []
    for i, (key, section) in enumerate(words["sections"].items(), start=1):
        head = escape(section["head"][language])
        contents.append(f'<li><a href="#{key}">{head}</a></li>')
        text = _paragraph(section["text"][language]) if "text" in section else ""
        body.append("\n".join([f'<h2 id="{key}">{i}. {head}</h2>', text, *blocks.get(key, ())]))
    first = _strong(register_line(replication.simulated, language=language))
    nav = f"<nav><ol>{''.join(contents)}</ol></nav>"
    return html_page(words["title"][language], first, nav, *body, language=language)


def write_report(replication: Replication, folder: str | Path) -> tuple[Path, ...]:
    """Write the report in both languages as ``report_nl.html`` and ``report_en.html``; return the paths.

    Examples
    --------
    ``replication`` as made by :func:`replicate`:

    >>> import tempfile
    >>> import missie_impact as mi
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in mi.write_report(replication, folder)]
    ['report_nl.html', 'report_en.html']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    languages: tuple[Language, ...] = ("nl", "en")
    for language in languages:
        path = folder / f"report_{language}.html"
        path.write_text(evaluation_report(replication, language), encoding="utf-8", newline="\n")
        paths.append(path)
    return tuple(paths)


def _blocks(replication: Replication, language: Language, figure: str) -> dict[str, tuple[str, ...]]:
    """What the numbers add to the fixed words, by section."""
    rows = replication.rows
    effects = [row for row in rows if row.design == "trials"]
    headline = [row for row in effects if row.group == "all"]
    parts = [row for row in effects if row.group != "all"]
    shown = partial(_rows, replication=replication, language=language)
    return {
        "instrument": (_budget(language),),
        "population": _definitions(effects, language),
        "selection": _flows(replication, language),
        "design": (_levels(rows, language),),
        "assumption": (shown([row for row in rows if row.design in ("naive", "variant")]),),
        "result": (_claims(headline, language), _figure(replication, language, figure), shown(headline)),
        "attainment": (shown([row for row in rows if row.design == "description"]),),
        "heterogeneity": (_claims(parts, language), shown(parts)),
        "costs": (_budget(language),),
        "limits": tuple(_paragraph(phrase(note, language)) for note in replication.notes),
        "data": (replication.provenance.to_html(language),),
    }


def _strong(text: str) -> str:
    return f"<p><strong>{escape(text)}</strong></p>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _budget(language: Language) -> str:
    budget = published_figure("R5.2025.budget")
    value = f"{budget.value:g}".replace(".", "," if language == "nl" else ".")
    words = {
        "en": f"Budget of the missions: {budget.bound} EUR {value} million a year ({budget.source}).",
        "nl": f"Budget van de missies: ongeveer {value} miljoen euro per jaar (brief aan de Tweede Kamer over 2025).",
    }
    return _paragraph(words[language])


def _definitions(rows: Iterable[ReplicationRow], language: Language) -> tuple[str, ...]:
    seen = dict.fromkeys(
        f"{row.id}: {phrase(row.definition, language)} ({phrase(row.status, language)})." for row in rows
    )
    return tuple(_paragraph(text) for text in seen)


def _flows(replication: Replication, language: Language) -> tuple[str, ...]:
    return tuple(
        f"<h3>{escape(phrase(name, language))}</h3>{flow_table(flow, language).to_html()}"
        for name, flow in replication.flows
    )


def _levels(rows: Iterable[ReplicationRow], language: Language) -> str:
    used = dict.fromkeys((row.id.split(".")[0], row.design) for row in rows)
    heads = {"id": label("id", language), "design": label("design", language), "level": "SMS"}
    frame = pd.DataFrame([(i, label(d, language), level_of(d)) for i, d in used], columns=["id", "design", "level"])
    return html_table(frame.drop_duplicates(), heads=heads)


def _claims(rows: Iterable[ReplicationRow], language: Language) -> str:
    sentences = [
        claim(
            f"{row.id}, {label(row.label, language)}, {label(row.group, language)}",
            row.scale,
            row.estimate,
            (row.conf_low, row.conf_high),
            level=level_of(row.design),
            n_treated=row.n_treated,
            language=language,
        )
        for row in rows
        if not math.isnan(row.estimate)
    ]
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def _rows(rows: Iterable[ReplicationRow], replication: Replication, language: Language) -> str:
    """Rows that fit a page: columns without a value are left out, remarks stand below by number."""
    frame = pd.DataFrame([[getattr(row, name) for name in RESULT_COLUMNS] for row in rows], columns=RESULT_COLUMNS)
    for name in ("n_treated", "n_events"):
        frame[name] = frame[name].astype("Int64")
    said = {text: f"[{i}]" for i, text in enumerate((t for t in dict.fromkeys(frame["reason"]) if t), start=1)}
    frame["reason"] = [said.get(text) for text in frame["reason"]]
    notes = [f"{number} {phrase(text, language)}" for text, number in said.items()]
    if frame["conf_low"].notna().any():
        notes.append(f"{CONF_LEVEL:.0%}{INTERVALS[language]}")
    shown = frame.dropna(axis="columns", how="all")
    return Table(shown, notes=tuple(notes), simulated=replication.simulated, language=language).to_html()


def _figure(replication: Replication, language: Language, alt: str) -> str:
    """Published against estimated, drawn into the page itself."""
    image = png_of(plot(replication, language=language, style="cbs"), dpi=130)
    data = base64.b64encode(image).decode("ascii")
    return f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}"></figure>'
