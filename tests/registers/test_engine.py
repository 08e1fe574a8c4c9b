import contextlib
from pathlib import Path

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import pytest

from missie_impact.errors import EngineError, SchemaError, SettingsError
from missie_impact.registers import Engine
from missie_impact.registers.engine import distinct

SECRET = "8675309"


@pytest.fixture
def engine():
    with Engine(threads=1) as made:
        yield made


FRAME = pd.DataFrame(
    {
        "firm": [3, 1, 2],
        "year": np.array([2010, 2011, 2012], dtype="int32"),
        "value": [1.5, np.nan, -2.0],
        "count": pd.array([None, 7, 8], dtype="Int64"),
        "flag": pd.array([True, None, False], dtype="boolean"),
        "sector": pd.Categorical(["C", "G", "C"]),
        "day": pd.to_datetime(["2012-02-29", None, "2011-01-01"]),
    }
)


def turned(kind):
    if kind == "pandas":
        return FRAME
    if kind == "mapping":
        return {name: FRAME[name] for name in FRAME}
    if kind == "narwhals":
        return nw.from_native(FRAME)
    if kind == "backwards":
        return FRAME.iloc[::-1]
    if kind == "named index":
        return FRAME.set_index(["firm", "year"])
    if kind == "polars":
        return pytest.importorskip("polars").from_pandas(FRAME)
    if kind == "polars lazy":
        return pytest.importorskip("polars").from_pandas(FRAME).lazy()
    return pytest.importorskip("pyarrow").Table.from_pandas(FRAME)


KINDS = ["pandas", "mapping", "narwhals", "backwards", "named index", "polars", "polars lazy", "arrow"]


@pytest.mark.parametrize("kind", KINDS)
def test_take_and_collect(engine, kind):
    table = engine.take(turned(kind))
    found = engine.collect(table, sort_by=["firm"])
    assert found["firm"].tolist() == [1, 2, 3] and found["firm"].dtype == np.int64
    assert found["year"].tolist() == [2011, 2012, 2010] and found["year"].dtype == np.int32
    assert found["value"].isna().tolist() == [True, False, False] and found["value"].dtype == np.float64
    assert found["count"].tolist() == [7, 8, pd.NA] and str(found["count"].dtype) == "Int64"
    assert found["flag"].tolist() == [pd.NA, False, True] and str(found["flag"].dtype) == "boolean"
    assert found["sector"].tolist() == ["G", "C", "C"]
    assert found["day"].dtype == "datetime64[us]" and found["day"].isna().tolist() == [True, False, False]
    assert engine.count(table.filter(nw.col("value").is_null())) == 1  # NaN has become null


def test_relation_of_another_connection(engine):
    pytest.importorskip("pyarrow")
    with duckdb.connect() as other:
        taken = engine.take(other.sql("SELECT 1 AS firm, 'x' AS word UNION ALL SELECT 2, NULL"))
    found = engine.collect(taken, sort_by=["firm"])
    assert found["firm"].tolist() == [1, 2] and found["word"].isna().tolist() == [False, True]


def test_plans_of_the_engine_stay_plans(engine):
    plan = engine.take(FRAME).filter(nw.col("firm") > 1)
    assert engine.take(plan).to_native() is plan.to_native()
    assert engine.take(plan.to_native()).to_native() is plan.to_native()


def test_later_edits_do_not_reach_the_copy(engine):
    mine = FRAME.copy(deep=True)
    table = engine.take(mine)
    mine.loc[:, "firm"] = 105
    assert engine.collect(table, sort_by=["firm"])["firm"].tolist() == [1, 2, 3]


def test_taking_does_not_change_the_frame(engine):
    before = FRAME.copy(deep=True)
    engine.take(FRAME)
    pd.testing.assert_frame_equal(FRAME, before)


def test_store_runs_once_and_sums_stay_whole_numbers(engine):
    table = engine.take({"firm": [1, 1, 2], "value": [2**40, 2**41, 5]})
    plan = table.group_by("firm").agg(nw.col("value").sum())
    stored = engine.store(plan, "sums per firm; DROP TABLE x")
    assert engine.collect(stored, sort_by=["firm"])["value"].tolist() == [2**40 + 2**41, 5]
    assert stored.collect_schema()["value"] == nw.Int64
    assert engine.collect(plan, sort_by=["firm"])["value"].dtype == np.int64


def test_two_tables_of_one_name(engine):
    one, two = engine.store(engine.take({"a": [1]}), "t"), engine.store(engine.take({"a": [2]}), "t")
    assert [engine.one(one), engine.one(two)] == [{"a": 1}, {"a": 2}]


def test_one_wants_one_row(engine):
    with pytest.raises(EngineError, match="found 3 rows"):
        engine.one(engine.take(FRAME))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_write_and_scan(engine, tmp_path, ending):
    path = tmp_path / f"table.{ending}"
    engine.write(engine.take({"firm": [2, 1], "market": ["NA", "DE"]}), path, sort_by=["firm"])
    found = engine.collect(engine.scan(path), sort_by=["firm"])
    assert found["firm"].astype(int).tolist() == [1, 2]
    assert found["market"].tolist() == ["DE", "NA"]  # Namibia is no missing value
    assert str(found["firm"].iloc[0]) == "1"


def test_scan_of_several_files(engine, tmp_path):
    for year in (2010, 2011):
        engine.write(engine.take({"year": [year]}), tmp_path / f"trade_{year}.parquet")
    found = engine.collect(engine.scan(tmp_path / "trade_*.parquet"), sort_by=["year"])
    assert found["year"].tolist() == [2010, 2011]


def test_a_table_larger_than_wanted_stays_in_its_file(engine, tmp_path):
    path = tmp_path / "ten_million.parquet"
    with duckdb.connect() as writer:
        writer.execute("SET threads = 1")
        writer.execute(f"COPY (SELECT range AS firm, 2010 AS year FROM range(10_000_000)) TO '{path}'")
    with Engine(threads=1, memory_limit="60MB") as small:  # the table would take 120 MB
        plan = small.scan(path).with_columns(firm=nw.col("firm") * 2)
        assert small.count(plan.filter(nw.col("firm") < 10)) == 5
        with pytest.raises(EngineError, match="memory"):
            small.store(plan, "all of it")


def messages(call):
    with pytest.raises(EngineError) as caught:
        call()
    seen, error = [], caught.value
    while error is not None:
        seen.append(str(error))
        error = error.__cause__ or error.__context__
    return " ".join(seen)


def test_the_words_of_the_database_are_withheld(engine):
    text = engine.take({"word": ["1", SECRET + "x"]})
    cast = text.select(nw.col("word").cast(nw.Int64))
    for call in (lambda: engine.collect(cast), lambda: engine.store(cast, "t"), lambda: engine.count(cast.unique())):
        found = messages(call)
        assert SECRET not in found and "withheld" in found


def test_a_missing_column_is_named(engine):
    with pytest.raises(SchemaError, match="nothere"):
        engine.collect(engine.take(FRAME), sort_by=["nothere"])


def test_closed(engine):
    table = engine.take(FRAME)
    engine.close()
    engine.close()
    assert not engine.is_open and "closed" in repr(engine)
    calls = [lambda: engine.collect(table), lambda: engine.take(FRAME), lambda: engine.store(table, "t")]
    for call in [*calls, lambda: engine.count(table), lambda: engine.scan("x.csv")]:
        with pytest.raises(EngineError, match="closed"):
            call()


def test_temporary_folder_goes_at_closing(tmp_path):
    frame = {"a": np.arange(3_000_000), "b": np.arange(3_000_000)[::-1].copy()}
    # Whether a sort of this size spills or fails is DuckDB's affair; what it writes must be gone.
    with contextlib.suppress(EngineError), Engine(tmp_path, threads=1, memory_limit="60MB") as engine:
        engine.store(engine.take(frame).sort("b"), "sorted")
    assert list(Path(tmp_path).iterdir()) == []


def test_bad_settings():
    with pytest.raises(SettingsError, match="memory_limit"):
        Engine(memory_limit="much")
    with Engine(threads=1) as engine:
        with pytest.raises(SettingsError, match="format"):
            engine.scan("trade.sav")
        with pytest.raises(SettingsError, match="encoding"):
            engine.scan("trade.csv", encoding="cp437")
        with pytest.raises(EngineError, match=r"nothere\.parquet"):
            engine.scan("nothere.parquet")
        with pytest.raises(SchemaError, match="found int"):
            engine.take(5)
        with pytest.raises(SchemaError, match="distinct"):
            engine.take(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_mixed_column_shows_no_value(engine):
    mixed = pd.DataFrame({"v": [1] * 3000 + [SECRET + "x", b"bytes", 2.5]})
    with contextlib.suppress(EngineError):  # pandas may hand it over as text
        engine.take(mixed)
        return
    assert SECRET not in messages(lambda: engine.take(mixed))


@pytest.mark.parametrize("text", ["a,b\n1,2,3\n", "a,b\n1,2\n1\n", "title\na,b\n1,2\n"])
def test_malformed_lines_are_refused(engine, tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(EngineError, match="more or fewer fields"):
        engine.collect(engine.scan(tmp_path / "x.csv"))


@pytest.mark.parametrize("text", ["", "a,a\n", "a,\n"])
def test_headers_are_needed(engine, tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(SchemaError, match="first line"):
        engine.scan(tmp_path / "x.csv")


def test_files_of_one_table_have_one_header(engine, tmp_path):
    (tmp_path / "x1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "x2.csv").write_text("b,a\n1,2\n")
    with pytest.raises(SchemaError, match="same columns"):
        engine.scan(tmp_path / "x*.csv")


def test_csv_as_spreadsheets_write_it(engine, tmp_path):
    (tmp_path / "x.csv").write_bytes('\ufeffa;b c\r\n1;"x; ""y"""\r\n;NA\r\n'.encode())
    found = engine.collect(engine.scan(tmp_path / "x.csv", delimiter=";"), sort_by=["b c"])
    assert found["b c"].tolist() == ["NA", 'x; "y"'] and found["a"].isna().tolist() == [True, False]


def test_distinct_rows_keep_a_missing_key(engine):
    rows = engine.take(pd.DataFrame({"firm": [2, 1, 2, None, None], "market": ["FR", "DE", "FR", "DE", "DE"]}))
    found = engine.collect(distinct(rows), sort_by=["market", "firm"])
    assert [(None if pd.isna(f) else f, m) for f, m in found.to_numpy()] == [(None, "DE"), (1, "DE"), (2, "FR")]
