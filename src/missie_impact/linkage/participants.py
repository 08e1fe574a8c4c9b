"""Participations joined to firms through their Chamber-of-Commerce numbers."""

from __future__ import annotations

from dataclasses import dataclass

import narwhals as nw
import pandas as pd

from missie_impact.definitions import Definitions
from missie_impact.flow import Flow, FlowStep
from missie_impact.linkage.counting import count_units
from missie_impact.linkage.identity import Successors
from missie_impact.registers import Registers
from missie_impact.registers.engine import Lazy, distinct

SUPPORT = ["market", "year", "instrument", "mission"]


@dataclass(frozen=True, slots=True)
class Linkage:
    """Support of firms, after linking.

    Attributes
    ----------
    supports : firm, market, year, instrument, mission, date, minister_led, listed; one row per firm, market, year,
        instrument and mission, however many persons went
    hosts : market, year of every listed mission in the list, whether or not its participants could be linked
    report : per instrument and year: participations of firms, linked ones, their numbers and firms
    flow : rows, firms and participants from the list to the supports
    first_year : first year of the list, None without a list
    """

    supports: Lazy
    hosts: Lazy
    report: pd.DataFrame
    flow: Flow
    first_year: int | None


def listed_expression(definitions: Definitions) -> nw.Expr:
    """Return the expression for a listed mission: the instrument that is the treatment."""
    listed = nw.col("instrument").is_in(list(definitions.instruments))
    return listed & nw.col("minister_led").fill_null(False) if definitions.minister_led_only else listed


def link_participants(registers: Registers, definitions: Definitions, successors: Successors) -> Linkage:
    """Link the participants to firms at the date of the support.

    A number that belongs to several firms on the day follows the link that began last, then the lowest firm number;
    participants that are not firms, and numbers without a link on the day, are left out and counted.
    """
    engine = registers.engine
    people = registers.participations.with_columns(
        year=nw.col("date").dt.year().cast(nw.Int64),
        mission=nw.col("mission").fill_null(""),
        listed=listed_expression(definitions),
    )
    firms = people.filter(nw.col("organisation").fill_null("firm") == "firm")
    linked = engine.store(successors.follow(_join_links(firms, registers.links)), "linked_participations")
    supports = linked.group_by("firm", *SUPPORT).agg(
        nw.col("date").min(),
        nw.col("minister_led").cast(nw.Int64).max().alias("minister_led"),
        nw.col("listed").cast(nw.Int64).max().alias("listed"),
    )
    supports = engine.store(
        supports.with_columns(minister_led=nw.col("minister_led") > 0, listed=nw.col("listed") > 0), "supports"
    )
    hosts = engine.store(distinct(people.filter(nw.col("listed")).select("market", "year")), "hosts")
    report = _report(registers, firms, linked)
    years = engine.collect(people.select(nw.col("year").min()), sort_by=[])["year"]
    first = None if years.isna().all() else int(years.iloc[0])
    return Linkage(supports, hosts, report, _flow(registers, people, firms, linked, supports), first)


def _join_links(people: Lazy, links: Lazy) -> Lazy:
    """Add the firm that holds the number on the day; rows without one are left out."""
    days = distinct(people.select("kvk", "date")).join(links, on="kvk", how="inner")
    open_end = nw.col("valid_to").is_null() | (nw.col("valid_to") >= nw.col("date"))
    valid = days.filter((nw.col("valid_from") <= nw.col("date")) & open_end)
    began_last = valid.with_columns(latest=nw.col("valid_from").max().over("kvk", "date"))
    latest = began_last.filter(nw.col("valid_from") == nw.col("latest"))
    return people.join(latest.group_by("kvk", "date").agg(nw.col("firm").min()), on=["kvk", "date"], how="inner")


def _report(registers: Registers, firms: Lazy, linked: Lazy) -> pd.DataFrame:
    def counts(frame: Lazy, name: str) -> pd.DataFrame:
        by = frame.group_by("instrument", "year").agg(nw.len().cast(nw.Int64).alias(name))
        return registers.engine.collect(by, sort_by=["instrument", "year"]).set_index(["instrument", "year"])

    report = counts(firms, "participations").join(counts(linked, "linked")).fillna({"linked": 0})
    report["linked"] = report["linked"].astype("int64")
    return report.assign(share_linked=report["linked"] / report["participations"]).reset_index()


def _flow(registers: Registers, people: Lazy, firms: Lazy, linked: Lazy, supports: Lazy) -> Flow:
    engine = registers.engine
    listed, numbers = count_units(engine, people, "kvk")
    of_firms, firm_numbers = count_units(engine, firms, "kvk")
    rows, n_firms = count_units(engine, linked)
    kept, _ = count_units(engine, supports)
    return Flow(
        (
            FlowStep("participations in the list", listed, None, numbers),
            FlowStep("participations of firms", of_firms, None, firm_numbers, "organisations that are not firms"),
            FlowStep("linked to the register", rows, n_firms, n_firms, "number without a link on the day"),
            FlowStep("supports (firm, market, year, instrument)", kept, n_firms, n_firms, "several persons of a firm"),
        ),
        registers.settings.simulated is not None,
    )
