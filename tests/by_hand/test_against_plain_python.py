"""The same rules in plain loops over a small random register, row for row against the library.

Slow and obvious on purpose: sets of active years, one question per line. The register has gaps, corrections, firms
that die, a renumbered and a lost one, several missions and years missing from the firm register.
"""

from collections import defaultdict

import pandas as pd
import pytest

from missie_impact import build_panel, entry_risk_set, exit_risk_set, transition_risk_set
from missie_impact.registers import Registers

FIRST, LAST = 2004, 2016
NEVER = 9999


class Plain:
    """The register as sets: who was active where and when, who went, who existed."""

    def __init__(self, tables):
        changes = tables["identity_changes"]
        followed, gone = changes.dropna(subset="new_firm"), changes[changes["new_firm"].isna()]
        self.heir = {int(o): int(n) for o, n in zip(followed["old_firm"], followed["new_firm"], strict=True)}
        self.lost = {int(o): d.year for o, d in zip(gone["old_firm"], gone["date"], strict=True)}
        amounts = defaultdict(float)
        for r in tables["trade"].itertuples():
            amounts[(self.who(r.firm), r.market, r.flow, r.year)] += r.value_eur
        self.exports, self.either = defaultdict(set), defaultdict(set)
        for (firm, market, flow, year), amount in amounts.items():
            if amount > 0.004:
                self.either[(firm, market)].add(year)
                if flow == "export":
                    self.exports[(firm, market)].add(year)
        self.exporter = defaultdict(set)
        for (firm, _), years in self.exports.items():
            self.exporter[firm] |= years
        self.rows, founded, ended = set(), {}, {}
        for r in tables["firms"].sort_values("year").itertuples():
            self.rows.add((self.who(r.firm), r.year))
            founded[r.firm] = r.founded
            ended[r.firm] = NEVER if pd.isna(r.ended) else int(r.ended)
        self.founded = {f: min(y for g, y in founded.items() if self.who(g) == f) for f in map(self.who, founded)}
        self.ended = {f: ended.get(f, NEVER) for f in self.founded}
        numbers = dict(zip(tables["links"]["kvk"], tables["links"]["firm"], strict=True))
        self.went, self.hosts = set(), set()
        for r in tables["participations"].itertuples():
            if r.instrument == "mission":
                self.hosts.add((r.market, r.date.year))
                if r.kvk in numbers:
                    self.went.add((self.who(numbers[r.kvk]), r.market, r.date.year))
        self.goes = {(f, y) for f, _, y in self.went}
        self.firms = sorted(self.founded)

    def who(self, firm):
        while firm in self.heir:
            firm = self.heir[firm]
        return int(firm)

    def exists(self, firm, year):
        return self.founded[firm] <= year < min(self.ended[firm], self.lost.get(firm, NEVER))

    def transitions(self):
        for firm in self.firms:
            years = self.exporter[firm]
            for t in range(FIRST + 4, LAST - 4 + 1):
                before = [y for y in range(t - 4, t) if y in years]
                if t - 1 not in years or len(before) >= 3 or not self.exists(firm, t):
                    continue
                if any((firm, y) in self.goes for y in range(t - 3, t)) or self.lost.get(firm, NEVER) <= t + 4:
                    continue
                died = self.ended[firm] <= t + 4
                later = sum(y in years for y in range(t + 1, t + 5))
                yield firm, t, int((firm, t) in self.goes), int(later >= 3 and not died), int(died)

    def event(self, firm, years, e):
        """Return what happens to a pair at risk in year e, active in e-1."""
        if e in years or e + 1 in years:
            return "none"
        if self.lost.get(firm, NEVER) <= e + 1:
            return "lost"
        return "death" if self.ended[firm] <= e + 1 else "exit"

    def exits(self):
        for (firm, market), years in self.either.items():
            for t in range(FIRST + 4, LAST - 2 + 1):
                structural = t - 1 in years and sum(y in years for y in range(t - 4, t)) >= 3
                if not structural or t not in years or (market, t) not in self.hosts or not self.exists(firm, t):
                    continue
                if any((firm, market, y) in self.went for y in range(t - 3, t)):
                    continue
                treated = (firm, market, t) in self.went
                if (firm, t) in self.goes and not treated:
                    continue
                for e in range(t + 1, min(t + 5, LAST - 1) + 1):
                    if e - 1 not in years:
                        continue
                    cause = self.event(firm, years, e)
                    yield firm, market, t, e, int(treated), cause, int(cause == "exit")
                    if cause != "none":
                        break

    def entries(self):
        for market, t in self.hosts:
            for firm in self.firms if FIRST + 4 <= t <= LAST - 2 else ():
                years = self.either.get((firm, market), set())
                treated = (firm, market, t) in self.went
                if (firm, t - 1) not in self.rows or not self.exists(firm, t) or years & {t - 1, t - 2}:
                    continue
                if any((firm, market, y) in self.went for y in range(t - 3, t)):
                    continue
                if (firm, t) in self.goes and not treated:
                    continue
                yield firm, market, t, int(treated), int(bool(years & {t + 1, t + 2}))


@pytest.fixture(scope="module")
def plain(random_tables):
    return Plain(random_tables)


@pytest.fixture(scope="module")
def panel(random_tables):
    with Registers.from_frames(**random_tables, first_year=FIRST, last_year=LAST) as registers:
        yield build_panel(registers)


def found(risk, columns):
    return sorted(tuple(int(v) if not isinstance(v, str) else v for v in r) for r in risk.collect()[columns].to_numpy())


def test_transition(plain, panel):
    wanted = sorted(plain.transitions())
    assert found(transition_risk_set(panel), ["firm", "year", "treated", "outcome", "died"]) == wanted
    assert {r[2:] for r in wanted} >= {(0, 0, 0), (0, 1, 0), (1, 0, 0)}


def test_exit_trials(plain, panel):
    columns = ["firm", "market", "year", "exit_year", "treated", "cause", "outcome"]
    wanted = sorted(plain.exits())
    assert found(exit_risk_set(panel), columns) == wanted
    assert {r[5] for r in wanted} >= {"none", "exit", "death"}
    assert {r[4] for r in wanted} == {0, 1}


def test_entry(plain, panel):
    wanted = sorted(plain.entries())
    risk = entry_risk_set(panel, controls_per_treated=10_000)
    assert found(risk, ["firm", "market", "year", "treated", "outcome"]) == wanted
    assert {r[3:] for r in wanted} == {(0, 0), (0, 1), (1, 0), (1, 1)}
