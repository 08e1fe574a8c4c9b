"""How figures look: colours that differ in grey too, decimal commas in Dutch, one frame for all."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.display import SIMULATED_IN
from missie_impact.errors import SettingsError
from missie_impact.report.labels import Language, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Floats = NDArray[np.float64]
Style = Literal["plain", "cbs"]
Coordinates = str | tuple[str, str]

# Okabe and Ito (2008), ordered so that the first ones and neighbours differ in lightness; the other is like CBS's.
PALETTES: dict[str, tuple[str, ...]] = {
    "plain": ("#0072b2", "#e69f00", "#8c3b00", "#56b4e9", "#000000", "#cc79a7", "#009e73"),
    "cbs": ("#0058b8", "#f39200", "#7a2a00", "#00a1cd", "#333333", "#53a31d", "#d2007a"),
}
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
NARROW = 6.0  # inches: below it a figure puts under each other what it else puts beside each other
TEXT, FAINT, PALE = "#1a1a1a", "#767676", "#d5d5d5"
NOTHING = 1e-9  # what is left of a difference of equal numbers
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100)
NEAR_ONE = (0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)


@dataclass(frozen=True, slots=True)
class Look:
    """What a figure needs to know besides its result.

    Attributes
    ----------
    language : of labels and numbers
    style : palette and lines
    scale : scale to draw of a result that has several, or None for its first
    names : words of the reader's own for terms, in place of the catalogue's
    """

    language: Language = "en"
    style: Style = "plain"
    scale: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.language not in ("en", "nl"):
            raise SettingsError(f"language: expected 'en' or 'nl', found {self.language!r}.")
        if self.style not in PALETTES:
            raise SettingsError(f"style: expected one of {sorted(PALETTES)}, found {self.style!r}.")

    def word(self, term: str) -> str:
        """Words for a term in the language of the figure."""
        return self.names[term] if term in self.names else label(term, self.language)

    def colour(self, i: int) -> str:
        """Colour of the i-th series."""
        palette = PALETTES[self.style]
        return palette[i % len(palette)]

    def number(self, value: float, digits: int = 3) -> str:
        """A number for a reader, with a decimal comma and points for thousands in Dutch."""
        value = 0.0 if abs(value) < NOTHING else value
        text = f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"
        return text if self.language == "en" else text.translate(str.maketrans(".,", ",."))


def new_axes(width: float = 7.0, height: float = 4.2) -> Axes:
    """An axes on a figure of its own, which keeps room for all labels. No global state of pyplot is touched."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def room(ax: Axes) -> float:
    """Inches across that an axes has with its labels, before they are laid out."""
    alone = 0.775  # share of a figure's width that matplotlib gives a single axes
    return float(ax.get_position(original=True).width / alone * ax.figure.bbox.width / ax.figure.dpi)


def fold(text: str, inches: float, *, points: float = 9.0, lines: int = 3) -> str:
    """Break a text into lines that fit a width; what does not fit in the last one is cut with a sign."""
    letters = max(int(inches * 72 / (0.56 * points)), 8)
    return "\n".join(textwrap.wrap(text, letters, max_lines=lines, placeholder=" …", break_on_hyphens=False))


def finish(ax: Axes, look: Look, data: pd.DataFrame, *, title: str = "", simulated: bool = False) -> Axes:
    """Give an axes its frame, its numbers and its line on simulated registers, and hang the table behind it on it."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.tick_params(colors=TEXT, labelsize=9)
    if look.style == "cbs":
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0, which="both")
    # The words above begin at the axes, to the right of its labels.
    across = 0.72 * room(ax)
    first = fold(SIMULATED_IN[look.language], across, points=8) if simulated else ""
    if title:
        pad = 6 + 12 * (first.count("\n") + 1 if first else 0)
        ax.set_title(fold(title, across, points=12), loc="left", fontsize=11, fontweight="bold", color=TEXT, pad=pad)
    if first:
        write(ax, first, (0, 1), (0, 5), colour=FAINT, va="bottom")
    setattr(ax, "data", data)  # noqa: B010 - matplotlib knows no such attribute, its readers do
    return ax


def write(
    ax: Axes,
    text: str,
    at: tuple[float, float],
    shift: tuple[float, float],
    *,
    of: Coordinates = "axes fraction",
    colour: str = TEXT,
    ha: Literal["left", "center", "right"] = "left",
    va: Literal["bottom", "center", "top"] = "center",
) -> None:
    """Write beside a point, shifted by some points of type; outside the axes too, where the layout makes room."""
    ax.annotate(
        text, at, shift, xycoords=of, textcoords="offset points", ha=ha, va=va, fontsize=8, color=colour,
        annotation_clip=False,
    )  # fmt: skip


def legend_below(ax: Axes, down: float, columns: int) -> None:
    """Put the names of what is drawn some points of type below the axes, whatever its height."""
    from matplotlib.transforms import ScaledTranslation

    shift = ScaledTranslation(0, -down / 72, ax.figure.dpi_scale_trans)
    ax.legend(
        frameon=False, fontsize=8, loc="upper left", ncols=columns, bbox_to_anchor=(0, 0), borderaxespad=0,
        bbox_transform=ax.transAxes + shift,
    )  # fmt: skip


def number_axis(axis: Axis, look: Look, *, percent: bool = False) -> None:
    """Write the numbers of an axis in the language of the figure."""
    from matplotlib.ticker import FuncFormatter

    def text(value: float, _: int) -> str:
        shown = value * 100 if percent else value
        short = f"{shown:,.10g}"
        return (short if look.language == "en" else short.translate(str.maketrans(".,", ",."))) + (
            "%" if percent else ""
        )

    axis.set_major_formatter(FuncFormatter(text))


def ratio_axis(ax: Axes, which: Literal["x", "y"], values: Floats, look: Look) -> None:
    """Make an axis logarithmic with round numbers around values; matplotlib would mark powers of ten alone."""
    from matplotlib.ticker import FixedLocator, NullLocator

    finite = values[np.isfinite(values) & (values > 0)]
    low, high = (min(finite.min(), 0.9), max(finite.max(), 1.1)) if len(finite) else (0.5, 2.0)
    ends = (low / 1.08, high * 1.08)
    wide, narrow = ([step for step in steps if ends[0] <= step <= ends[1]] for steps in (RATIOS, NEAR_ONE))
    if which == "x":
        ax.set(xscale="log", xlim=ends)
    else:
        ax.set(yscale="log", ylim=ends)
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(FixedLocator(wide if len(wide) > 2 else narrow))
    axis.set_minor_locator(NullLocator())
    number_axis(axis, look)
