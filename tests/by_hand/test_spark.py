"""The panel's rules on Spark, where Java and pyspark are there: the same plans, the same rows."""

import shutil

import narwhals as nw
import pandas as pd
import pytest

from missie_impact import CBS_2024, build_panel
from missie_impact.panel.history import with_history
from missie_impact.panel.spells import spells
from missie_impact.panel.status import status
from missie_impact.registers import Registers

pytestmark = [pytest.mark.spark, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
FIRST, LAST = 2004, 2016
PAIR = ["firm", "market"]


@pytest.fixture(scope="module")
def session():
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not here")
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    options = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.driver.host": "127.0.0.1"}
    builder = sql.SparkSession.builder.master("local[2]").appName("missie_impact")
    for name, value in options.items():
        builder = builder.config(name, value)
    made = builder.getOrCreate()
    yield made
    made.stop()


def on_spark(session, frame: pd.DataFrame):
    """Hand a pandas frame to Spark, missing as null."""
    rows = [[None if pd.isna(v) else v for v in row] for row in frame.astype(object).to_numpy().tolist()]
    kinds = {"firm": "bigint", "market": "string", "year": "int"}
    schema = ", ".join(f"{name} {kinds.get(name, 'bigint')}" for name in frame.columns)
    return nw.from_native(session.createDataFrame(rows, schema)).lazy()


def fetched(lazy, keys: list[str]) -> pd.DataFrame:
    frame = lazy.sort(*keys).to_native().toPandas()
    return frame.reset_index(drop=True)


def test_spells_and_status(session, random_tables):
    with Registers.from_frames(**random_tables, first_year=FIRST, last_year=LAST) as registers:
        panel = build_panel(registers)
        years = panel.collect(panel.activity("market", "export"), [*PAIR, "year"])
        life = panel.collect(panel.life, ["firm"])
        wanted_spells = panel.collect(panel.spells(flow="export"), [*PAIR, "begin"])
        wanted_status = panel.collect(panel.status(level="market", flow="export"), [*PAIR, "year"])
    history = with_history(on_spark(session, years), PAIR, CBS_2024)
    found = fetched(spells(history, on_spark(session, life), CBS_2024, FIRST, LAST), [*PAIR, "begin"])
    pd.testing.assert_frame_equal(found, wanted_spells[list(found)], check_dtype=False)
    kept = history.drop("spell", "begin", "spell_years", "last")
    found = fetched(status(kept, CBS_2024, FIRST), [*PAIR, "year"])
    pd.testing.assert_frame_equal(found, wanted_status[list(found)], check_dtype=False)
