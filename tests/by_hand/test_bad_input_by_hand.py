"""What a researcher may get wrong on the way to a risk set, and what the library says."""

import pandas as pd
import pytest

from missie_impact import (
    build_panel,
    entry_risk_set,
    errors,
    exit_risk_set,
    increase_risk_set,
    transition_risk_set,
)
from missie_impact.effects import structural_transition
from missie_impact.registers import Registers

SECRET = "8675309"


@pytest.mark.parametrize("make", [transition_risk_set, exit_risk_set, entry_risk_set, increase_risk_set])
def test_no_participant_at_all(panel_of, make):
    with pytest.raises(errors.NoParticipantError):
        make(panel_of("ann KE 2004: x x x x x x x x", guide=False))


def test_only_other_support_is_no_participant(panel_of):
    with pytest.raises(errors.NoParticipantError):
        transition_risk_set(panel_of("ann FR 2007: x", missions="ann FR 2008-05-01 trade_fair", guide=False))


def test_a_subgroup_without_participants_is_nan_with_a_reason(panel_of):
    names = [f"f{i:02d}" for i in range(40)]
    histories = [f"{n} FR 2007: x . {'x x x' if i % 2 else '.'}" for i, n in enumerate(names)]
    missions = "\n".join(f"{n} FR 2008-05-01" for i, n in enumerate(names) if i % 5 in (1, 2) and i < 30)
    panel = panel_of("\n".join(histories), missions=missions, large=" ".join(names[30:]))
    effect = structural_transition(transition_risk_set(panel), controls=(), by="size", cluster="firm")
    table = effect.tidy()
    nobody = table[table["group"].str.contains("not_sme")]
    assert len(nobody) and nobody["estimate"].isna().all()
    assert nobody["reason"].str.len().gt(0).all()
    somebody = table[table["group"].str.contains("=sme") & (table["scale"] == "odds_ratio")]
    assert somebody["estimate"].notna().all()


def test_a_subgroup_without_an_event_is_nan_with_a_reason(panel_of):
    names = [f"f{i:02d}" for i in range(40)]
    histories = [f"{n} FR 2007: x . {'x x x' if i % 2 and i < 30 else '.'}" for i, n in enumerate(names)]
    missions = "\n".join(f"{n} FR 2008-05-01" for i, n in enumerate(names) if i % 5 in (1, 2))
    panel = panel_of("\n".join(histories), missions=missions, large=" ".join(names[30:]))
    effect = structural_transition(transition_risk_set(panel), controls=(), by="size", cluster="firm")
    table = effect.tidy()
    quiet = table[table["group"].str.contains("not_sme") & (table["scale"] == "odds_ratio")]
    assert len(quiet) and quiet["estimate"].isna().all() and quiet["reason"].str.len().gt(0).all()


def build(frames, **changes):
    tables = frames("ann FR 2007: x x\nben DE 2010: x", missions="ann FR 2008-05-01")
    with Registers.from_frames(**{**tables, **changes}, first_year=2004, last_year=2016) as registers:
        return build_panel(registers).flow


def broken(frames, name, change):
    tables = frames("ann FR 2007: x x\nben DE 2010: x", missions="ann FR 2008-05-01")
    return {name: change(tables[name])}


@pytest.mark.parametrize(
    ("table", "change", "error"),
    [
        ("trade", lambda t: t.drop(columns="market"), errors.SchemaError),
        ("trade", lambda t: pd.concat([t, t.iloc[:1]]), errors.DuplicateKeyError),
        ("trade", lambda t: t.assign(market="QQ"), errors.UnknownMarketError),
        ("trade", lambda t: t.assign(year=1987), errors.YearRangeError),
        ("trade", lambda t: t.iloc[:0], errors.EmptyTableError),
        ("trade", lambda t: t.assign(value_eur=f"EUR {SECRET}"), errors.SchemaError),
        ("firms", lambda t: pd.concat([t, t.iloc[:1]]), errors.DuplicateKeyError),
        ("firms", lambda t: t.assign(workers=SECRET + " fte"), errors.SchemaError),
        ("firms", lambda t: t.assign(founded=2012), errors.ParticipationDateError),
    ],
)
def test_each_has_an_error_of_its_own_that_shows_no_value(frames, table, change, error):
    with pytest.raises(error) as caught:
        build(frames, **broken(frames, table, change))
    assert SECRET not in str(caught.value)
    assert "ann" not in str(caught.value).split()


def test_unlinked_numbers_are_reported_and_no_error(registers):
    made = registers("ann FR 2007: x", missions="ann FR 2008-05-01")
    tables_without = build_panel(made).linkage
    assert tables_without is not None
    report = str(made.check())
    assert "unlinked" in report.lower() or "link" in report.lower()


def test_corrections_beyond_exports_are_counted_and_no_error(registers):
    made = registers("ann FR 2007: x 100-150 100-400 x", missions="ann FR 2008-05-01")
    assert "2" in str(made.check())


def test_a_participant_that_cannot_be_linked_is_nobody(frames):
    tables = frames("ann FR 2007: x\nben FR 2007: x", missions="ann FR 2008-05-01\nben FR 2008-05-01")
    links = tables["links"][tables["links"]["firm"] != "ben"]
    with Registers.from_frames(**{**tables, "links": links}, first_year=2004, last_year=2016) as registers:
        rows = transition_risk_set(build_panel(registers)).collect()
    found = {(f, t) for f, t in zip(rows["firm"], rows["treated"], strict=True)}
    assert found == {("ann", 1), ("ben", 0)}
