"""The CBS 2024 study and the letter's indicator, step by step, on any registers."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from missie_impact.definitions import CBS_2024, Definitions
from missie_impact.errors import MissieError
from missie_impact.flow import Flow
from missie_impact.panel import build_panel
from missie_impact.provenance import Provenance, provenance
from missie_impact.registers import Registers
from missie_impact.study import attainment, description, headlines
from missie_impact.study.context import Asked, Context, StepResult, blank
from missie_impact.study.records import Replication, ReplicationRow
from missie_impact.study.truths import truth_book

COHORTS = (2020, 2021)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the study: the rows it is asked for, and the work that fills them."""

    name: str
    asked: tuple[Asked, ...]
    work: Callable[[Context], StepResult]


def replicate(
    registers: Registers, *, definitions: Definitions | None = None, progress: bool | None = None
) -> Replication:
    """Set the published figures R1, R2, R3 and R6 beside what registers give.

    Parameters
    ----------
    registers : simulated ones or a user's own
    definitions : the rules; by default CBS_2024 with the changes that study.toml asks for
    progress : show a progress bar; by default on a terminal only

    Returns
    -------
    Replication
        A row that cannot be computed is NaN with the reason. Registers without missions give spells, exits and
        survival.

    Raises
    ------
    MissieError
        If the panel cannot be built; a single step that fails does not stop the others.

    Examples
    --------
    ``registers`` as made by :func:`simulate_registers`:

    >>> import missie_impact as mi
    >>> replication = mi.replicate(registers, progress=False)
    >>> replication.rows[0].id, replication.simulated
    ('R2', True)
    """
    rules = definitions or CBS_2024.with_changes(registers.settings.definitions)
    simulated = registers.settings.simulated is not None
    panel = build_panel(registers, rules)
    context = Context(panel, rules, truth_book(registers), simulated)
    rows: list[ReplicationRow] = []
    flows: list[tuple[str, Flow]] = [("panel", panel.flow)]
    for step in _shown(_steps(context), progress):
        done = _guarded(context, step)
        rows += [replace(row, simulated=simulated) for row in done.rows]
        if done.flow is not None:
            flows.append((step.name, done.flow))
    return Replication(
        rows=tuple(rows),
        simulated=simulated,
        notes=_notes(context, rows),
        provenance=_provenance(registers, rules, simulated),
        flows=tuple(flows),
    )


def _steps(context: Context) -> list[Step]:
    cohorts = _cohorts(context)
    steps = [
        Step("becoming structural", tuple(headlines.asked_transition(context)), headlines.transition_step),
        Step("leaving a market", tuple(headlines.asked_exit(context)), headlines.exit_step),
        Step("starting to trade", tuple(headlines.asked_entry(context, "trade")), headlines.trade_entry_step),
        Step("starting to invest", tuple(headlines.asked_entry(context, "fdi")), headlines.fdi_entry_step),
        Step(
            "budget indicator",
            tuple(attainment.asked_indicator(context, cohorts)),
            partial(attainment.indicator_step, cohorts=cohorts),
        ),
        Step("becoming structural, by design", tuple(headlines.asked_designs(context)), headlines.designs_step),
        Step(
            "variants of leaving a market",
            tuple(headlines.asked_exit_variants(context)),
            headlines.exit_variants_step,
        ),
    ]
    registers = context.panel.registers
    if not (registers.has("participations") and registers.has("firms")):
        steps.append(Step("spells", tuple(description.asked_description()), description.description_step))
    return steps


def _cohorts(context: Context) -> Sequence[int]:
    return tuple(context.panel.registers.settings.cohorts) or COHORTS


def _guarded(context: Context, step: Step) -> StepResult:
    """Do a step; where the data do not allow it, its rows stand without an estimate and say why."""
    try:
        return step.work(context)
    except (MissieError, np.linalg.LinAlgError) as error:
        return StepResult(tuple(blank(context, asked, str(error)) for asked in step.asked))


def _shown(steps: Sequence[Step], progress: bool | None) -> Iterable[Step]:
    from tqdm import tqdm

    hide = not sys.stderr.isatty() if progress is None else not progress
    bar = tqdm(steps, desc="study", unit="step", disable=hide, file=sys.stderr)
    for step in bar:
        bar.set_postfix_str(step.name)
        yield step


def _notes(context: Context, rows: Sequence[ReplicationRow]) -> tuple[str, ...]:
    notes = [
        "Scales of R1 to R3 are assumed: CBS does not state them. Ratios are marginal, standardised over the treated.",
        "Naive rows stand beside the estimates to show what comparisons without design give; they are not estimates.",
        "R6 is goal attainment, a description: it has no interval and says nothing about what support brought about.",
    ]
    notes.append(_note_on_total(rows))
    if context.truths.reason:
        notes.append(f"No truth: {context.truths.reason}.")
    return tuple(notes)


def _note_on_total(rows: Sequence[ReplicationRow]) -> str:
    """Say that the published total of R1 does not follow from its own subgroups, and what does."""
    trade = {row.group: row for row in rows if row.id == "R1" and row.label == headlines.ENTRY["trade"]}
    text = (
        "The published total of R1 for trade (7.2) does not follow from its own subgroups: 8.9 for independent SME and "
        "6.2 for others give 7.2 only with 33 to 41% SME among the treated, while CBS reports 63 to 75%, which gives "
        "7.9 to 8.2. The total is not tuned"
    )
    truth, estimate = trade["all"].truth, trade["all"].estimate
    parts = [] if math.isnan(truth) else [f"truth {truth:.1f}"]
    parts += [] if math.isnan(estimate) else [f"estimate {estimate:.1f}"]
    return f"{text}; the total that follows here: {', '.join(parts)}." if parts else f"{text}."


def _provenance(registers: Registers, rules: Definitions, simulated: bool) -> Provenance:
    described = rules.describe()
    return provenance(
        registers.inputs,
        seed=registers.settings.seed,
        definitions=dict(zip(described["name"], described["value"], strict=True)),
        simulated=simulated,
    )
