"""The same checked tables from whatever the user has, and what is refused."""

from datetime import date

import narwhals as nw
import pandas as pd
import pytest

from missie_impact import errors
from missie_impact.registers import TABLES, Registers, RegisterSettings, SimulatedInfo, read_registers, schema_markdown
from missie_impact.registers.schema import TYPES

SECRET = "8675309"


def brought_out(registers):
    keys = {
        "participations": ("person",),
        "links": ("kvk", "firm"),
        "identity_changes": ("old_firm",),
        "trade": (*TABLES["trade"].key, "value_cents"),
    }
    names = {name: keys.get(name, table.key) for name, table in TABLES.items()}
    return {name: registers.engine.collect(getattr(registers, name), sort_by=key) for name, key in names.items()}


def from_frames(tables, **settings):
    return Registers.from_frames(**tables, first_year=2010, last_year=2012, **settings)


@pytest.fixture
def wanted(tables):
    with from_frames(tables) as registers:
        return brought_out(registers)


def same(found, wanted):
    for name, table in wanted.items():
        pd.testing.assert_frame_equal(found[name], table, obj=name)


def test_checked_trade(wanted):
    trade = wanted["trade"]
    one = trade[(trade["firm"] == 1) & (trade["year"] == 2010)]
    assert one["value_cents"].tolist() == [-10_000, 100_025]
    assert trade["market"].tolist().count("NA") == 2
    assert trade["estimated"].sum() == 1
    assert trade["year"].dtype == "int32" and trade["value_cents"].dtype == "int64" and trade["firm"].dtype == "int64"


def test_checked_firms(wanted):
    firms = wanted["firms"].set_index(["firm", "year"])
    assert firms.loc[(2, 2010), "turnover_cents"] == 6_000_000_000 and firms.loc[(3, 2012), "turnover_cents"] == -500
    assert pd.isna(firms.loc[(1, 2012), "workers"]) and pd.isna(firms.loc[(1, 2012), "balance_cents"])
    assert firms["ended"].isna().tolist() == [True, True, False, True] and firms.loc[(2, 2010), "ended"] == 2011
    assert firms["foreign_controlled"].tolist() == [False, pd.NA, True, False]


def test_types_are_those_of_the_schema(tables):
    with from_frames(tables) as registers:
        for name, table in TABLES.items():
            for column, kind in getattr(registers, name).collect_schema().items():
                declared = table.column(column)
                assert kind == (nw.Int64 if declared.kind == "id" else TYPES[declared.kind]), (name, column)
            assert getattr(registers, name).collect_schema().names() == list(table.names)


def test_absent_tables_are_empty_and_typed(tables):
    with Registers.from_frames(trade=tables["trade"]) as registers:
        assert registers.settings.first_year == 2010 and registers.settings.last_year == 2012
        for name, table in TABLES.items():
            if name != "trade":
                assert not registers.has(name)
                assert getattr(registers, name).collect_schema().names() == list(table.names)
        assert registers.firms.collect_schema()["firm"] == nw.Int64
        assert registers.has("trade") and registers.rows["firms"] == 0
        with pytest.raises(errors.SettingsError, match="firms"):
            registers.has("firm")


def test_defaults_of_absent_columns(tables):
    trade = tables["trade"].query("value_eur > 0 and flow == 'export'")
    with Registers.from_frames(
        trade=trade[["firm", "market", "year", "value_eur"]], firms=tables["firms"][["firm", "year"]]
    ) as registers:
        assert registers.absent["trade"] == {"flow", "kind", "estimated"}
        found = brought_out(registers)
        assert set(found["trade"]["flow"]) == {"export"} and set(found["trade"]["kind"]) == {"goods"}
        assert found["firms"]["weight"].tolist() == [1.0] * 4 and found["firms"]["workers"].isna().all()


def dates_to_text(table):
    return table.assign(**{c: pd.to_datetime(table[c]) for c in table if c in ("date", "valid_from", "valid_to")})


TURNS = {
    "same": lambda t: t,
    "datetimes": dates_to_text,
    "polars": lambda t: pytest.importorskip("polars").from_pandas(t),
    "arrow": lambda t: pytest.importorskip("pyarrow").Table.from_pandas(t, preserve_index=False),
    "narwhals": nw.from_native,
    "backwards": lambda t: t.iloc[::-1],
    "named index": lambda t: t.set_index(t.columns[0]),
    "more columns": lambda t: t.assign(nobody_asked=[object()] * 0 or 5),
    "categories": lambda t: t.assign(**{c: t[c].astype("category") for c in t if c in ("market", "flow", "sector")}),
    "floats": lambda t: t.assign(**{c: t[c].astype(float) for c in t if c in ("firm", "year", "old_firm", "group")}),
    "small integers": lambda t: t.assign(year=t["year"].astype("int16")) if "year" in t else t,
    "cents": lambda t: (
        t.assign(value_cents=(t.pop("value_eur") * 100).round().astype("int64"))
        if "value_eur" in (t := t.copy())
        else t
    ),
}


@pytest.mark.parametrize("turn", TURNS)
def test_the_kind_of_frame_does_not_matter(tables, wanted, turn):
    with from_frames({name: TURNS[turn](table) for name, table in tables.items()}) as registers:
        same(brought_out(registers), wanted)


def test_frames_are_left_alone(tables):
    before = {name: table.copy(deep=True) for name, table in tables.items()}
    with from_frames(tables) as registers:
        brought_out(registers)
        registers.check()
    for name, table in before.items():
        pd.testing.assert_frame_equal(tables[name], table)


SECTIONS = {
    "plain": {},
    "dutch": dict.fromkeys(TABLES, 'delimiter = ";"\ndecimal = ","\nencoding = "latin-1"'),
}


@pytest.mark.parametrize("sections", SECTIONS)
def test_csv(tables, wanted, study, sections):
    with read_registers(study(tables, **SECTIONS[sections])) as registers:
        same(brought_out(registers), wanted)
        assert [f.name for f in registers.inputs] == [f"{name}.csv" for name in tables]


def test_parquet(tables, wanted, tmp_path):
    pytest.importorskip("pyarrow")
    lines = ["[study]", "first_year = 2010", "last_year = 2012"]
    for name, table in tables.items():
        table.to_parquet(tmp_path / f"{name}.parquet", index=False)
        lines += [f"[files.{name}]", f'path = "{name}.parquet"']
    (tmp_path / "study.toml").write_text("\n".join(lines))
    with read_registers(tmp_path) as registers:  # the folder will do
        same(brought_out(registers), wanted)


def test_ids_of_csv_files(tables, study):
    text = {
        name: t.assign(**{c: t[c].map("{:06d}".format) for c in t if c == "firm"})
        for name, t in tables.items()
        if name != "identity_changes"
    }
    with read_registers(study(text)) as registers:
        found = brought_out(registers)
    assert found["trade"]["firm"].unique().tolist() == ["000001", "000002", "000003", "000009"]
    assert found["links"]["firm"].tolist()[0] == "000001"


def test_columns_constants_and_names_of_markets(tables, study):
    trade = tables["trade"].query("flow == 'export' and value_eur > 0 and firm != 9")
    named = trade["market"].map({"DE": "GERMANY", "NA": " Namibia ", "US": "Atlantis"})
    trade = pd.DataFrame({"who": trade["firm"], "JAAR": trade["year"], "amount": trade["value_eur"], "to": named})
    path = study(
        {"trade": trade},
        top='currency = "USD"\nextra_markets = { XA = "Atlantis" }',
        trade='columns = { firm = "who", year = "JAAR", value_eur = "amount", market = "to" }\n'
        'constants = { flow = "import", kind = "services", estimated = true }\nmarket_names = true',
    )
    with read_registers(path) as registers:
        found = brought_out(registers)["trade"]
        codes = registers.engine.collect(registers.markets, sort_by=["market"])["market"]
    assert found["market"].tolist() == ["DE", "DE", "NA", "XA"] and "XA" in set(codes)
    assert set(found["flow"]) == {"import"} and set(found["kind"]) == {"services"} and found["estimated"].all()
    assert registers.settings.currency == "USD"


def test_sum_of_duplicates(tables):
    twice = {**tables, "trade": pd.concat([tables["trade"], tables["trade"].head(1)])}
    with pytest.raises(errors.DuplicateKeyError, match="2 rows on 1 keys"):
        from_frames(twice)
    with from_frames(twice, on_duplicate="sum") as registers:
        trade = brought_out(registers)["trade"]
        assert trade.query("firm == 1 and year == 2010")["value_cents"].tolist() == [2 * 100_025 - 10_000]
        assert registers.flow.frame()["rows"].tolist() == [9, 6]


def test_large_tables_are_checked_year_by_year(tables, monkeypatch):
    monkeypatch.setattr("missie_impact.registers.breaches.ROWS_AT_ONCE", 1)
    with from_frames(tables) as registers:
        found = registers.check().frame().set_index(["table", "finding"])["rows"]
    assert found["trade", "keys whose corrections reach or exceed the trade"] == 1
    assert found["trade", "keys with value zero"] == 1
    twice = {**tables, "trade": pd.concat([tables["trade"], tables["trade"].tail(1), tables["trade"].head(1)])}
    with pytest.raises(errors.DuplicateKeyError, match="4 rows on 2 keys"):
        from_frames(twice)


def test_settings_are_handed_on(tables, study):
    path = study(
        tables,
        top='cohorts = [2010, 2011]\nseed = 7\non_early_participation = "count"',
        end="[definitions]\ngap_years = 1\n[engine]\nthreads = 1",
    )
    with read_registers(path) as registers:
        settings = registers.settings
    assert settings.study.cohorts == settings.cohorts == (2010, 2011) and settings.seed == 7
    assert dict(settings.study.definitions) == {"gap_years": 1} and settings.name == "five firms"
    assert settings.simulated is None and settings.currency == "EUR"


def test_simulated_registers_say_so(tables, study, tmp_path):
    (tmp_path / "simulated").mkdir()
    (tmp_path / "simulated" / "settings.json").write_text('{"seed": 3}')
    with read_registers(study(tables, top='simulated = "simulated/settings.json"')) as registers:
        simulated = registers.settings.simulated
        assert simulated is not None and simulated.settings["seed"] == 3 and simulated.folder == tmp_path / "simulated"
        assert "simulated" in repr(registers) and "Simulated" in registers._repr_html_()
        assert str(registers.check()).startswith("Simulated")


def test_settings_object_or_words(tables):
    settings = RegisterSettings(2010, 2012, simulated=SimulatedInfo())
    with Registers.from_frames(**tables, settings=settings) as registers:
        assert registers.settings.simulated is not None
    with pytest.raises(errors.SettingsError, match="first_year"):
        Registers.from_frames(**tables, settings=settings, first_year=2010)


def test_repr_shows_counts_only(tables):
    with from_frames(tables) as registers:
        assert repr(registers) == "<registers 2010-2012, 8 trade rows, <Engine open>>"
        assert "participations" in registers._repr_html_()
    assert "closed" in repr(registers)
    with pytest.raises(errors.EngineError, match="closed"):
        registers.check()


def change(name, how):
    return lambda tables: {**tables, name: how(tables[name])}


BAD = {
    "missing column": (change("trade", lambda t: t.drop(columns="year")), errors.SchemaError, "year"),
    "text in a number": (
        change("trade", lambda t: t.assign(value_eur=["1"] * 7 + [SECRET + "x"])),
        errors.SchemaError,
        "value_eur: expected an amount of money, found something else in 1 rows",
    ),
    "wrong type": (change("trade", lambda t: t.assign(estimated=date(2010, 1, 1))), errors.SchemaError, "estimated"),
    "no year": (change("trade", lambda t: t.assign(year=86753)), errors.SchemaError, "year"),
    "half a year": (change("trade", lambda t: t.assign(year=2010.5)), errors.SchemaError, "in 8 rows"),
    "too much money": (change("firms", lambda t: t.assign(balance_eur=1e18)), errors.SchemaError, "balance_eur"),
    "no such flow": (change("trade", lambda t: t.assign(flow="uit")), errors.SchemaError, "one of export, import"),
    "fewer than no workers": (
        change("firms", lambda t: t.assign(workers=-8675309.0)),
        errors.SchemaError,
        "at least 0",
    ),
    "missing firm": (
        change("trade", lambda t: t.assign(firm=t["firm"].where(t["firm"] != 9))),
        errors.MissingValueError,
        "firm",
    ),
    "missing value": (
        change("trade", lambda t: t.assign(value_eur=t["value_eur"].where(t["firm"] != 9))),
        errors.MissingValueError,
        "value_eur",
    ),
    "ids of two kinds": (
        change("firms", lambda t: t.assign(firm="8675309")),
        errors.SchemaError,
        "integers in .*trade.firm.* and text in firms.firm",
    ),
    "unknown market": (
        change("trade", lambda t: t.assign(market=t["market"].replace("DE", "QQ"))),
        errors.UnknownMarketError,
        "1 others in 3 rows: QQ",
    ),
    "firms for markets": (
        change("trade", lambda t: t.assign(market=f"Jansen {SECRET} BV")),
        errors.UnknownMarketError,
        "1 not shown",
    ),
    "year before the window": (
        change("trade", lambda t: t.assign(year=t["year"].replace(2010, 2009))),
        errors.YearRangeError,
        "4 rows before and 0 rows after",
    ),
    "firm year after": (change("firms", lambda t: t.assign(year=2013)), errors.YearRangeError, "firms"),
    "duplicate firm-year": (
        change("firms", lambda t: pd.concat([t, t.head(2)])),
        errors.DuplicateKeyError,
        "4 rows on 2 keys",
    ),
    "empty": (change("trade", lambda t: t.head(0)), errors.EmptyTableError, "at least one row"),
    "before founding": (
        change("firms", lambda t: t.assign(founded=t["founded"].replace(2012, 2013))),
        errors.ParticipationDateError,
        "1 rows before it",
    ),
    "no date": (
        change("participations", lambda t: t.assign(date=["2011-02-29"] * 5)),
        errors.SchemaError,
        "a date written as 2015-03-31",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(tables, case):
    spoil, error, words = BAD[case]
    with pytest.raises(error, match=words) as caught:
        from_frames(spoil(tables))
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize("case", [c for c in BAD if c != "ids of two kinds"])
def test_bad_csv(tables, study, case):
    spoil, error, words = BAD[case]
    words = words if case != "wrong type" else "estimated: expected true or false, found something else in 8 rows"
    with pytest.raises(error, match=words) as caught:
        read_registers(study(spoil(tables)))
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None


def test_all_breaches_in_one_message(tables):
    bad = {
        **tables,
        "trade": tables["trade"].assign(value_eur=SECRET + "x"),
        "firms": tables["firms"].drop(columns="year").assign(workers="many"),
        "links": tables["links"].assign(valid_from=None),
    }
    with pytest.raises(errors.SchemaError, match="3 breaches") as caught:
        from_frames(bad)
    for words in ("value_eur", "['year']", "valid_from"):
        assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    worse = {**tables, "trade": tables["trade"].assign(market="QQ", year=2009)}
    with pytest.raises(errors.UnknownMarketError, match="2 breaches") as caught:
        from_frames(worse)
    assert "2010-2012" in str(caught.value)


def test_a_file_without_a_header_shows_no_value(study, tmp_path):
    path = study({"trade": pd.DataFrame({"firm": [1]})})
    (tmp_path / "trade.csv").write_text(f"{SECRET},DE,2010,5\n{SECRET},DE,2011,5\n")
    with pytest.raises(errors.SchemaError, match="is the first line a header") as caught:
        read_registers(path)
    assert SECRET not in str(caught.value)


def test_names_of_few_firms_are_not_shown(study):
    rows = [(firm, "Nowhere", 2010, 5) for firm in range(10)] + [(99, f"Jansen {SECRET}", 2010, 5)]
    trade = pd.DataFrame(rows, columns=["firm", "market", "year", "value_eur"])
    with pytest.raises(errors.UnknownMarketError, match="2 other names in 11 rows: Nowhere and 1 not shown") as caught:
        read_registers(study({"trade": trade}, trade="market_names = true"))
    assert SECRET not in str(caught.value)


def test_participation_before_founding_may_be_counted(tables):
    tables["firms"] = tables["firms"].assign(founded=tables["firms"]["founded"].replace(2012, 2013))
    settings = RegisterSettings(2010, 2012, on_early_participation="count")
    with Registers.from_frames(**tables, settings=settings) as registers:
        found = registers.check().frame().set_index("finding")["rows"]
    assert found["rows before the founding year of the firm"] == 1


def test_check(tables):
    with from_frames(tables) as registers:
        report = registers.check()
    found = report.frame().set_index(["table", "finding"])["rows"].to_dict()
    for key, rows in {
        ("trade", "rows"): 8,
        ("trade", "estimated rows"): 1,
        ("trade", "corrections (negative rows)"): 2,
        ("trade", "keys whose corrections reach or exceed the trade"): 1,
        ("trade", "keys with value zero"): 1,
        ("trade", "rows of firms that the firm register never holds"): 1,
        ("trade", "firm-years that trade without a firm row"): 2,  # firm 1 in 2011, firm 9 in 2012
        ("firms", "firm-years"): 4,
        ("firms", "firms"): 3,
        ("firms", "firms with a year missing in between"): 1,
        ("firms", "rows without workers"): 1,
        ("firms", "rows in or after the ending year"): 0,
        ("participations", "rows of listed missions"): 4,
        ("participations", "rows of participants that are no firms"): 1,
        ("participations", "rows without a Chamber-of-Commerce number"): 1,
        ("participations", "unlinked numbers of firms"): 1,
        ("participations", "unlinked rows of firms"): 2,  # 99999999, and 00000003 whose link begins a day later
        ("participations", "rows linked to several firms"): 1,
        ("participations", "rows before the founding year of the firm"): 0,
        ("links", "links that end before they begin"): 0,
        ("identity_changes", "lost identities"): 1,
    }.items():
        assert found[key] == rows, key
    assert report.ok and "unlinked" in str(report) and "<table" in report._repr_html_()


def test_check_of_trade_alone(tables):
    with Registers.from_frames(trade=tables["trade"]) as registers:
        report = registers.check()
    assert "firms: table not delivered or empty" in str(report) and report.ok


def test_breaches_that_are_no_errors(tables):
    tables["firms"] = tables["firms"].assign(ended=[2010, 2012, 2011, None])
    tables["links"] = tables["links"].assign(valid_to=date(2004, 1, 1))
    with from_frames(tables) as registers:
        report = registers.check()
    found = report.frame().set_index("finding")["rows"]
    assert found["rows in or after the ending year"] == 2 and found["links that end before they begin"] == 4
    assert not report.ok


def test_schema_as_markdown():
    text = schema_markdown()
    for name, table in TABLES.items():
        assert f"## {name}" in text and all(f"`{column}`" in text for column in table.names)
    assert "`value_eur`" in text and "one of export, import" in text
