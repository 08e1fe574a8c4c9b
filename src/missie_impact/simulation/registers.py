"""Simulated registers: drawn, written as a statistical office would deliver them, and read back."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

from missie_impact.errors import SettingsError
from missie_impact.registers.assemble import Raw
from missie_impact.registers.catalogue import RegisterSettings, SimulatedInfo, StudySettings
from missie_impact.registers.conform import Reading
from missie_impact.registers.engine import Engine
from missie_impact.registers.read import read_registers
from missie_impact.registers.tables import Registers
from missie_impact.simulation.assembly import COHORTS, FLOWS, Flows, RegisterDraw, RegisterOptions, draw_registers
from missie_impact.simulation.delivery import (
    STUDY,
    TABLE_FILES,
    Step,
    delivery_agrees,
    refuse_foreign_files,
    stage_tables,
    write_delivery,
)
from missie_impact.simulation.parameters import FIRMS_NATIONAL, Attendance, Selection, SimulationSettings, Truth
from missie_impact.simulation.worlds import draw_world

DEFAULT_SEED = 2026


def simulate_registers(
    seed: int = DEFAULT_SEED,
    *,
    out: str | Path | None = None,
    firms: int = FIRMS_NATIONAL,
    years: tuple[int, int] = (2004, 2024),
    truth: Truth = "cbs_2024",
    selection: Selection = "observed_history",
    attendance: Attendance = "status_last_year",
    spillover: float = 0.0,
    flows: Flows = "exporters",
    calibrate_r6: bool | None = None,
    options: RegisterOptions | None = None,
    progress: bool | None = None,
) -> Registers:
    """Draw registers with a known truth, to try methods on: no firm in them exists.

    Parameters
    ----------
    seed : start of the random numbers; equal arguments give equal files, byte for byte
    out : folder for the files (``study.toml`` names them); it is made if absent, read and not drawn again if its
        manifest agrees with the arguments, and nothing is written anywhere else. None: tables in memory only
    firms : number of firms drawn that ever trade or might; 490,000 is national scale
    years : first and last year of the registers
    truth : ``cbs_2024`` plants the effects that CBS published in 2024, ``none`` plants none
    flows : ``exporters``: goods exports, and the imports and services of the same pairs in the same years, so that a
        pair is active in either direction and kind exactly when it exports goods; ``goods_exports``: nothing else;
        ``all``: also traders that export no goods, firms of their own that never get support (exporters of
        services among them add to the exporters)
    selection : what participation depends on: ``observed_history``, ``fixed_level`` or ``unobserved``
    attendance : who of those that would go attends: by ``status_last_year``, or only pairs ``still_trading``
    spillover : share of a mission's effects that also reaches the firm's other markets
    calibrate_r6 : make the published budget indicator come out; None: only for the default seed and settings at
        national scale, and only there is True allowed
    options : rates of identity changes and of other instruments
    progress : progress bars on standard error; None shows them on a terminal only

    Returns
    -------
    Registers : all tables; firms with trade, affiliates or support and firms of 250 persons or more are held with
        weight 1, one in four of the others with weight 4

    Raises
    ------
    SettingsError
        An option is unknown, the indicator cannot be met, or ``out`` holds files that were not simulated.

    Notes
    -----
    At national scale this takes about a minute. Other instruments have no effect. Accounts, companion streams,
    identity changes and links are assumed; see ``docs/decisions/0003-simulated-register-files.md``.

    Examples
    --------
    >>> import missie_impact as mi
    >>> with mi.simulate_registers(seed=1, firms=2_000, progress=False) as registers:
    ...     registers.trade.collect_schema().names()
    ['firm', 'market', 'year', 'flow', 'kind', 'value_cents', 'estimated']
    """
    options = options or RegisterOptions()
    if flows not in FLOWS:
        raise SettingsError(f"`flows`: expected one of {list(FLOWS)}, found {flows!r}.")
    world = SimulationSettings(
        seed=seed,
        firms=firms,
        first_year=years[0],
        last_year=years[1],
        truth=truth,
        selection=selection,
        attendance=attendance,
        spillover=spillover,
    )
    calibrate = _calibrates(world, calibrate_r6)
    settings = _all_settings(world, options, flows, calibrate)
    folder = None if out is None else Path(out)
    if folder is not None:
        if delivery_agrees(folder, settings):
            return read_registers(folder / STUDY)
        refuse_foreign_files(folder)
    # potential outcomes are read from files alone
    drawn_world = draw_world(world, potential=folder is not None, progress=progress)
    drawn = draw_registers(drawn_world, options, flows=flows, calibrate=calibrate)
    if folder is None:
        return _in_memory(drawn, settings, progress)
    bar = _bar(drawn, progress, files=True)
    with bar:
        write_delivery(drawn, folder, settings, _advance(bar))
    return read_registers(folder / STUDY)


def _calibrates(world: SimulationSettings, wanted: bool | None) -> bool:
    """Tell whether the published indicator is to be met."""
    default = world == SimulationSettings(seed=DEFAULT_SEED)
    if wanted is None:
        return default
    national = world.firms == FIRMS_NATIONAL and world.first_year < COHORTS[0] and world.last_year >= COHORTS[-1] + 3
    if wanted and not national:
        raise SettingsError(
            f"`calibrate_r6`: expected {FIRMS_NATIONAL} firms and years that hold {COHORTS[0] - 1}-{COHORTS[-1] + 3}, "
            f"found {world.firms} firms and {world.first_year}-{world.last_year}: the published counts are national."
        )
    return wanted


def _all_settings(world: SimulationSettings, options: RegisterOptions, flows: Flows, calibrate: bool) -> dict[str, Any]:
    """Return everything that fixes the files, as plain values."""
    return {
        "world": world.as_dict(),
        "truth_key": world.truth_key(),
        "flows": flows,
        "calibrate_r6": calibrate,
        "identity": dataclasses.asdict(options.identity),
        "support": dataclasses.asdict(options.support),
    }


def _in_memory(drawn: RegisterDraw, settings: dict[str, Any], progress: bool | None) -> Registers:
    world = drawn.world.settings
    engine = Engine()
    with _bar(drawn, progress, files=False) as bar:
        staged = stage_tables(drawn, engine, _advance(bar))
    tables = {name: engine.store(table, name) for name, table in staged.items()}
    record = {**settings, "indicator_edits": [dataclasses.asdict(edit) for edit in drawn.edits]}
    cohorts = tuple(year for year in COHORTS if world.first_year <= year <= world.last_year - 3)
    name = f"simulated registers, seed {world.seed}, {world.firms} firms"
    register_settings = RegisterSettings(
        first_year=world.first_year,
        last_year=world.last_year,
        source=name,
        simulated=SimulatedInfo(settings=MappingProxyType(record)),
        study=StudySettings(name=name, cohorts=cohorts, seed=world.seed),
    )
    raws = {name: Raw(table, Reading()) for name, table in tables.items()}
    return Registers.of_raw(engine, raws, register_settings)


def _bar(drawn: RegisterDraw, progress: bool | None, *, files: bool) -> Any:
    from tqdm import tqdm

    n_years = drawn.base.last_year - drawn.base.first_year + 1
    total = 2 * n_years + 4 + (len(TABLE_FILES) + 1 if files else 0)
    hide = None if progress is None else not progress
    return tqdm(total=total, desc="simulated register files", unit="step", disable=hide, file=sys.stderr)


def _advance(bar: Any) -> Step:
    def step(name: str) -> None:
        bar.set_postfix_str(name)
        bar.update()

    return step
