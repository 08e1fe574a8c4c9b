"""Figures: what is drawn is the table behind it, in both languages, and nothing is cut off."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from missie_impact.effects.result import Counts, Effect, GroupResult
from missie_impact.effects.survival.curves import Curve, curve_table
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow, FlowStep
from missie_impact.report.figures import plot
from missie_impact.report.figures.look import PALETTES, Look, new_axes, ratio_axis
from missie_impact.report.labels import label
from missie_impact.report.results import flow_table


def effect(simulated: bool = True) -> Effect:
    counts = Counts(1000, 200, 50, 300)
    made = GroupResult("all", counts, ("odds_ratio", "risk_difference"), np.array([1.6, 0.08]),
                       {"firm": np.diag([0.01, 0.0004])}, degrees={"firm": math.inf})  # fmt: skip
    none = GroupResult("size=sme (eu)", counts, made.scales, np.full(2, np.nan), reason="no events")
    return Effect("becoming structural", "treated", "trials", "logit", "treated", (made, none), "firm", ("firm",), 0.95,
                  Flow(), simulated=simulated)  # fmt: skip


def curve(kind: str = "survival") -> Curve:
    points = [
        {"group": "all", "arm": arm, "time": float(t), "estimate": (1 - h) ** t, "conf_low": (1 - h) ** t - 0.02,
         "conf_high": (1 - h) ** t + 0.02, "n_at_risk": round(100 * (1 - h) ** t)}
        for arm, h in (("with", 0.1), ("without", 0.2)) for t in range(1, 6)
    ]  # fmt: skip
    return Curve("leaving the market", kind, "survival", curve_table(pd.DataFrame(points)), simulated=True)  # type: ignore[arg-type]


FLOW = Flow((FlowStep("firms", 1000, reason=""), FlowStep("incidental", 400, reason="structural, or no exports")))


def texts(ax: Axes) -> str:
    ax.figure.draw_without_rendering()
    found = [*ax.texts, ax.title, ax._left_title, ax.xaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]
    return "\n".join(text.get_text() for text in found)


@pytest.mark.parametrize(
    "result", [FLOW, effect(), curve(), curve("event_time")], ids=["flow", "effect", "curve", "event"]
)
@pytest.mark.parametrize("style", list(PALETTES))
def test_nothing_is_cut_off(result: object, style: str) -> None:
    ax = plot(result, style=style)  # type: ignore[arg-type]
    figure = ax.figure
    figure.draw_without_rendering()
    box, whole = ax.get_tightbbox(), figure.bbox
    assert box is not None
    assert box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1
    assert box.y0 >= whole.y0 - 1 and box.y1 <= whole.y1 + 1


def test_the_table_behind_a_figure_hangs_on_its_axes() -> None:
    pd.testing.assert_frame_equal(plot(FLOW).data, FLOW.frame())
    forest = plot(effect(), scale="risk_difference")
    assert forest.data["scale"].unique().tolist() == ["risk_difference"]
    assert {"estimate", "n_treated", "n_events", "n_firms"} <= set(forest.data.columns)


def test_marks_stand_where_the_numbers_are() -> None:
    ax = plot(effect())
    (mark,) = [line for line in ax.lines if line.get_marker() == "s"]
    assert mark.get_xdata().tolist() == [1.6]  # the group without an estimate has no mark, but its reason
    assert "no events" in texts(ax)
    assert ax.get_xscale() == "log"


def test_dutch_figures_have_dutch_words_and_decimal_commas() -> None:
    shown = texts(plot(effect(), scale="risk_difference", language="nl"))
    assert "risicoverschil" in shown and "0,08 (0,0408 – 0,119)" in shown
    assert "Gesimuleerde registers" in shown


def test_simulated_registers_are_named_in_the_figure_and_only_then() -> None:
    assert "Simulated registers" in texts(plot(effect()))
    assert "Simulated registers" not in texts(plot(effect(simulated=False)))


def test_numbers_at_risk_stand_below_survival_curves() -> None:
    shown = texts(plot(curve()))
    assert "at risk" in shown and "90" in shown.split("\n")


def test_own_axes_are_drawn_on_and_returned() -> None:
    ax = Figure().subplots()
    assert plot(FLOW, ax) is ax


@pytest.mark.parametrize(
    ("result", "settings", "said"),
    [
        (3, {}, "no figure for a int"),
        (effect(), {"scale": "hazard_ratio"}, "expected one of"),
        (effect(), {"style": "pink"}, "expected one of"),
        (effect(), {"language": "fr"}, "'en' or 'nl'"),
    ],
)
def test_what_cannot_be_drawn_says_why(result: object, settings: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        plot(result, **settings)  # type: ignore[arg-type]


MANY = pd.concat([curve().table.assign(group=group) for group in ("all", "size=sme (eu)", "size=large (eu)")])


@pytest.mark.parametrize(
    "result",
    [FLOW, effect(), curve(), curve("event_time"), Curve("exit", "survival", "survival", MANY)],
    ids=["flow", "effect", "curve", "event", "many curves"],
)
def test_nothing_is_cut_off_where_it_is_narrow(result: object) -> None:
    ax = Figure(figsize=(4.2, 6.0), layout="constrained").subplots()
    plot(result, ax, language="nl")
    ax.figure.draw_without_rendering()
    box, whole = ax.get_tightbbox(), ax.figure.bbox
    assert box is not None and box.x0 >= -1 and box.x1 <= whole.x1 + 1 and box.y0 >= -1 and box.y1 <= whole.y1 + 1


def test_a_difference_between_arms_is_left_to_the_table() -> None:
    table = pd.concat([curve().table, curve().table.assign(arm="difference", estimate=0.01)], ignore_index=True)
    ax = plot(Curve("exit", "survival", "survival", table))
    assert ax.data["arm"].nunique() == 4 - 1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["with support", "without support"]


def test_causes_of_one_arm_share_their_line_of_numbers_at_risk() -> None:
    one = curve().table.assign(estimate=0.1)
    table = pd.concat([one.assign(group=cause) for cause in ("exit", "death")], ignore_index=True)
    ax = plot(Curve("exit, death", "cumulative_incidence", "cumulative_incidence", table))
    assert [t.get_text() for t in ax.texts if t.get_text() in ("with support", "without support")] == [
        "with support", "without support",
    ]  # fmt: skip


def test_survival_that_stays_high_is_drawn_from_a_round_share_below_it() -> None:
    points = pd.DataFrame({"group": "all", "arm": "treated", "time": [1.0, 2.0], "estimate": [0.95, 0.9],
                           "conf_low": [0.9, 0.83], "conf_high": [1.0, 0.96]})  # fmt: skip
    assert plot(Curve("exit", "survival", "survival", curve_table(points))).get_ylim()[0] == pytest.approx(0.8)
    assert plot(curve()).get_ylim()[0] == 0  # falls to 0.33


def test_series_differ_without_colour() -> None:
    ax = plot(Curve("exit", "survival", "survival", MANY.reset_index(drop=True)))
    looks = [(line.get_linestyle(), line.get_marker()) for line in ax.get_legend().get_lines()]
    assert len(looks) == 6 and len(set(looks)) == 6


def test_a_part_of_a_step_loses_nothing() -> None:
    steps = (
        FlowStep("missions", 117),
        FlowStep("... too early", 23, reason="window"),
        FlowStep("... usable", 94),
        FlowStep("known", 90, reason="lost"),
    )
    assert Flow(steps).frame()["lost_rows"].fillna(-1).tolist() == [-1, -1, -1, 27]
    assert "-94" not in texts(plot(Flow(steps))) and "window" in texts(plot(Flow(steps)))


def test_arms_of_an_own_table_take_names_of_their_own() -> None:
    ax = plot(curve(), names={"with": "with a voucher", "without": "no voucher"})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["with a voucher", "no voucher"]
    assert "with a voucher" in texts(ax) and "with support" not in texts(ax)


def test_a_difference_of_equal_numbers_is_shown_as_zero() -> None:
    assert Look().number(0.1 + 0.2 - 0.3) == "0"
    assert Look().number(-5.5e-16) == "0"
    assert Look().number(1e-6) == "1e-06"


def test_ratios_near_one_have_marks_to_read_them_by() -> None:
    for values, expected in (([0.95, 1.3], [0.9, 1, 1.1, 1.2, 1.3, 1.4]), ([0.4, 3.0], [0.5, 0.7, 1, 1.5, 2, 3])):
        ax = new_axes()
        ratio_axis(ax, "x", np.array(values), Look())
        assert list(ax.get_xticks()) == expected


def test_subgroups_have_dutch_words() -> None:
    assert label("minister_led=not minister-led", "nl") == "zonder bewindspersoon (soort missie)"
    assert label("participation=repeat", "nl") == "herhaald (deelname)"


def test_a_flow_of_simulated_registers_says_so_everywhere() -> None:
    simulated = Flow(FLOW.steps, simulated=True)
    extended = simulated.of("trade").then(FlowStep("rows", 10))
    assert extended.simulated
    for flow, said in ((extended, True), (FLOW, False)):
        assert ("Simulated registers" in texts(plot(flow))) is said
        assert ("Simulated registers" in flow._repr_html_()) is said
        assert flow_table(flow).simulated is said
