"""The one door to all figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, singledispatch
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

from missie_impact.errors import SettingsError
from missie_impact.report.figures.look import Look, Style
from missie_impact.report.labels import Language

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Each module draws the results of one room, and registers its functions when it is imported.
MODULES = ("flows", "effects", "curves", "balance", "panel", "multiverse", "indicator")


def plot(
    result: Any,
    ax: Axes | None = None,
    *,
    scale: str | None = None,
    language: Language = "en",
    style: Style = "plain",
    names: Mapping[str, str] | None = None,
) -> Axes:
    """Draw a result.

    Parameters
    ----------
    result : anything the library hands on: a flow, an effect, a curve, a balance, an indicator, a multiverse, a study
    ax : axes to draw on; a new figure without one
    scale : scale of an effect; the first one where left out
    language : "en" or "nl" (decimal comma)
    style : "plain", or "cbs" for colours and lines like those of Statistics Netherlands
    names : words of your own for arms, groups, scales and outcomes, for a table of your own:
        ``{"treated": "with a voucher", "untreated": "without"}``

    Returns
    -------
    matplotlib.axes.Axes
        With the table behind the figure as its attribute ``data``. ``ax.figure.savefig(...)`` writes it. In a notebook
        axes made here show themselves as the last line of a cell (without a semicolon).

    Raises
    ------
    SettingsError
        If nothing is known about how to draw such a result.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> ax = mi.plot(panel.flow)
    >>> len(ax.data) == len(panel.flow.steps)
    True
    """
    for name in MODULES:
        import_module(f"missie_impact.report.figures.{name}")
    drawn: Axes = draw(result, ax, Look(language, style, scale, names or {}))
    if ax is None:
        # Such a figure is unknown to pyplot, which shows the others in a notebook.
        setattr(drawn, "_repr_png_", partial(png_of, drawn))  # noqa: B010 - matplotlib knows no such attribute
    return drawn


def png_of(ax: Axes, dpi: int = 100) -> bytes:
    """Return the figure that axes stand in as a PNG; nothing for axes of a part of a figure."""
    from matplotlib.figure import Figure

    page, figure = BytesIO(), ax.get_figure()
    if isinstance(figure, Figure):
        figure.savefig(page, format="png", dpi=dpi)
    return page.getvalue()


@singledispatch
def draw(result: Any, ax: Axes | None, look: Look) -> Any:
    """Draw one kind of result; registered per kind."""
    known = sorted(kind.__name__ for kind in draw.registry if kind is not object)
    raise SettingsError(f"no figure for a {type(result).__name__}: expected one of {known}.")
