"""How objects show themselves in a notebook: small HTML from the standard library, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from numbers import Integral, Real

import pandas as pd

SIMULATED = "Simulated registers: no figure here describes a real firm."
SIMULATED_IN = {"en": SIMULATED, "nl": "Gesimuleerde registers: geen cijfer hier beschrijft een echt bedrijf."}
NOT_COUNTS = ("year", "cohort", "seed")  # whole numbers that are names, so no thousands separator
MAX_ROWS = 100
LONG_TEXT, WIDE_CELL = 30, "12em"  # longer texts get a column wide enough to read


def number_text(value: object, *, digits: int = 4, separator: str = ",") -> str:
    """Write a value for a reader: whole numbers in thousands, others to some significant digits.

    Missing values (None, NaN, NaT, pandas.NA) give an empty text; infinite ones a sign.
    """
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    if isinstance(value, Integral):
        return f"{int(value):,d}".replace(",", separator)
    number = float(value)
    if math.isnan(number):
        return ""
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    if abs(number) >= 10 ** (digits - 1):
        return f"{number:,.0f}".replace(",", separator)
    return f"{number:.{digits}g}"


def in_language(text: str, value: object, language: str) -> str:
    """Write the text of a number with a decimal comma and points for thousands in Dutch; other texts stay."""
    dutch = language == "nl" and isinstance(value, Real) and not isinstance(value, bool)
    return text.translate(_COMMAS) if dutch else text


def html_table(
    frame: pd.DataFrame,
    *,
    title: str = "",
    notes: Sequence[str] = (),
    simulated: bool = False,
    heads: Mapping[str, str] | None = None,
    digits: int = 4,
    language: str = "en",
) -> str:
    """Show a table of results.

    Parameters
    ----------
    frame : any table; the index is not shown, rows beyond the first 100 are counted and left out
    title : caption above the table
    notes : lines below it, such as the definition used and the counts behind it
    simulated : put the line above it that says no figure describes a real firm
    heads : words for column names; a column without one shows its name
    digits : significant digits of numbers that are not whole
    language : "nl" writes a decimal comma, points for thousands and the line on simulated registers in Dutch
    """
    names = [str(column) for column in frame.columns]
    numeric = [pd.api.types.is_numeric_dtype(frame.iloc[:, i]) for i in range(len(names))]
    sign = ["" if is_name(name) else "," for name in names]
    head = "".join(
        _cell("th", (heads or {}).get(name, name), right) for name, right in zip(names, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            _cell("td", in_language(number_text(value, digits=digits, separator=s), value, language), right)
            for value, s, right in zip(row, sign, numeric, strict=True)
        )
        + "</tr>"
        for row in frame.head(MAX_ROWS).itertuples(index=False, name=None)
    )
    hidden = [f"{len(frame) - MAX_ROWS:,d} more rows"] if len(frame) > MAX_ROWS else []
    caption = f'<caption style="text-align:left;font-weight:bold">{escape(title)}</caption>' if title else ""
    return _block(
        f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
        notes,
        hidden,
        SIMULATED_IN[language] if simulated else "",
    )


def html_facts(
    facts: Mapping[str, object],
    *,
    title: str = "",
    notes: Sequence[str] = (),
    simulated: bool = False,
    language: str = "en",
) -> str:
    """Show named facts of an object (counts, settings) as two columns."""
    rows = "".join(
        f"<tr>{_cell('th', name, False)}"
        f"{_cell('td', number_text(value, separator='' if is_name(name) else ','), False)}</tr>"
        for name, value in facts.items()
    )
    caption = f'<caption style="text-align:left;font-weight:bold">{escape(title)}</caption>' if title else ""
    banner = SIMULATED_IN[language] if simulated else ""
    return _block(f"<table>{caption}<tbody>{rows}</tbody></table>", notes, [], banner)


def html_page(title: str, *blocks: str, language: str = "en") -> str:
    """Put blocks of HTML on one page that needs no network and reads on narrow screens."""
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(language)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n"
        + "\n".join(blocks)
        + "\n</body></html>\n"
    )


def _block(table: str, notes: Sequence[str], hidden: Sequence[str], first: str) -> str:
    banner = f'<p class="simulated"><strong>{escape(first)}</strong></p>' if first else ""
    lines = "".join(f"<p><small>{escape(note)}</small></p>" for note in (*hidden, *notes))
    return f'<div class="missie">{banner}<div style="overflow-x:auto">{table}</div>{lines}</div>'


def _cell(tag: str, text: str, right: bool) -> str:
    style = f"text-align:{'right' if right else 'left'}"
    style += f";min-width:{WIDE_CELL}" if len(text) > LONG_TEXT else ""
    return f'<{tag} style="{style}">{escape(text)}</{tag}>'


_COMMAS = str.maketrans(".,", ",.")


def is_name(column: str) -> bool:
    """Tell whether whole numbers of a column are names, such as years, and take no thousands separator."""
    return any(column == name or column.endswith(f"_{name}") for name in NOT_COUNTS)


_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:110rem;padding:0 1rem;color:#1a1a1a}"
    "h1{font-size:1.5rem}table{border-collapse:collapse;margin:1rem 0;font-size:.93em}caption{padding:.3rem 0}"
    "th,td{padding:.3rem .5rem;border-bottom:1px solid #d5d5d5;vertical-align:top}"
    "thead th{border-bottom:2px solid #0058b8}td{font-variant-numeric:tabular-nums}"
    # A table wider than the screen scrolls by itself; a shade at its edge says that there is more.
    ".missie>div{background:linear-gradient(to right,#fff 30%,transparent) 0 0/3rem 100% no-repeat local,"
    "linear-gradient(to left,#fff 30%,transparent) 100% 0/3rem 100% no-repeat local,"
    "linear-gradient(to right,#0003,transparent) 0 0/1rem 100% no-repeat scroll,"
    "linear-gradient(to left,#0003,transparent) 100% 0/1rem 100% no-repeat scroll}"
    ".simulated{background:#fff3d6;border-left:4px solid #f39200;padding:.5rem .8rem}"
    "figure{margin:1rem 0;overflow-x:auto}figure img{width:100%;min-width:42rem;max-width:70rem}"
    "@media (max-width:40rem){body{margin:1rem auto;font-size:14px}th,td{padding:.2rem .4rem}}"
    # On paper nothing can be scrolled: wide tables take the width of a page on its side, in smaller type.
    "@page{size:A4 landscape;margin:12mm}@media print{body{font-size:9pt;margin:0;max-width:none}"
    "div,figure{overflow:visible!important}th,td{font-size:7pt;padding:.1rem .3rem;min-width:0!important}"
    "thead{display:table-header-group}tr,figure{break-inside:avoid}h2,h3,caption{break-after:avoid}"
    "figure img{min-width:0;max-height:170mm;width:auto;max-width:100%}}"
)
