"""The engine on Spark gives the same checked tables; skipped where Java or pyspark is missing."""

import shutil

import narwhals as nw
import pandas as pd
import pytest

from missie_impact import errors
from missie_impact.registers import TABLES, Engine, Registers
from missie_impact.registers.spark import SparkEngine

pytestmark = [pytest.mark.spark, pytest.mark.slow]


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("no Java")
    with SparkEngine() as made:
        yield made


def test_frames_go_in_and_out(engine):
    frame = pd.DataFrame({"firm": [2, 1], "value": [1.5, None], "sector": pd.Categorical(["C", "G"])})
    found = engine.collect(engine.take(frame), sort_by=["firm"])
    assert found["firm"].tolist() == [1, 2] and found["sector"].tolist() == ["G", "C"]
    assert engine.count(engine.take(frame).filter(nw.col("value").is_null())) == 1


def test_registers_are_those_of_duckdb(engine, tables):
    keys = {"participations": ("person",), "links": ("kvk", "firm"), "identity_changes": ("old_firm",)}
    keys = {name: keys.get(name, table.key) for name, table in TABLES.items()}
    keys["trade"] += ("value_cents",)
    found = {}
    for own in (engine, Engine(threads=1)):
        registers = Registers.from_frames(**tables, first_year=2010, last_year=2012, engine=own)
        found[type(own).__name__] = {
            name: own.collect(getattr(registers, name), sort_by=key) for name, key in keys.items()
        }
        found[type(own).__name__]["check"] = registers.check().frame()
    own.close()
    for name, table in found["Engine"].items():
        pd.testing.assert_frame_equal(found["SparkEngine"][name], table, obj=name)


def test_words_of_spark_are_withheld(engine):
    text = engine.take({"word": ["8675309x"]})
    with pytest.raises(errors.EngineError) as caught:
        engine.collect(text.select(nw.col("word").cast(nw.Int64)))
    assert "8675309" not in str(caught.value) and caught.value.__context__ is None
