import json
import math

import pandas as pd

from missie_impact.provenance import Provenance
from missie_impact.study.records import Replication, ReplicationRow

LISTED = [
    "id", "label", "group", "scale", "published", "estimate", "conf_low", "conf_high", "truth", "n_rows", "n_firms",
    "n_treated", "n_events", "definition", "status", "simulated",
]  # fmt: skip


def row(**values):
    return ReplicationRow(**({"id": "R2", "label": "question", "group": "all", "scale": "odds_ratio"} | values))


def replication(*rows, simulated=True):
    return Replication(rows=rows, simulated=simulated, notes=("a note",), provenance=Provenance(simulated=simulated))


def test_an_interval_holds_its_truth_or_not_or_cannot_be_asked():
    assert row(conf_low=1.0, conf_high=2.0, truth=1.5).holds_truth is True
    assert row(conf_low=1.0, conf_high=2.0, truth=2.5).holds_truth is False
    assert row(conf_low=1.0, conf_high=2.0).holds_truth is None
    assert row(truth=1.5).holds_truth is None


def test_records_hold_every_agreed_column_and_missing_numbers_are_null(tmp_path):
    replication(row(estimate=1.5, n_rows=10, simulated=True)).write(tmp_path)
    records = json.loads((tmp_path / "replication.json").read_text("utf-8"))
    assert set(LISTED) <= set(records[0])
    assert records[0]["estimate"] == 1.5
    assert records[0]["n_rows"] == 10
    assert records[0]["truth"] is None
    assert records[0]["n_firms"] is None
    assert records[0]["simulated"] is True


def test_the_first_line_says_whether_registers_are_simulated(tmp_path):
    assert replication(row()).text().splitlines()[0].startswith("Simulated registers")
    assert "nothing simulated" in replication(row(), simulated=False).text().splitlines()[0]
    replication(row()).write(tmp_path)
    assert "Simulated registers" in (tmp_path / "replication.html").read_text("utf-8")


def test_misses_count_headline_intervals_only():
    rows = [
        row(design="trials", conf_low=1.0, conf_high=2.0, truth=1.5),
        row(design="trials", conf_low=1.0, conf_high=2.0, truth=3.0),
        row(design="trials", conf_low=1.0, conf_high=2.0),
        row(design="naive", conf_low=1.0, conf_high=2.0, truth=9.0),
    ]
    made = replication(*rows)
    assert made.misses == (1, 2)
    assert "Missed here: 1." in made.text()


def test_csv_and_table_agree(tmp_path):
    made = replication(row(estimate=1.23456789012345), row(id="R3"))
    made.write(tmp_path)
    read = pd.read_csv(tmp_path / "replication.csv")
    assert read["estimate"].iloc[0] == 1.23456789012345
    assert math.isnan(read["estimate"].iloc[1])
    assert list(read.columns) == list(made.table.columns)


def test_it_shows_itself_in_a_notebook_without_missing_values_as_words():
    html = replication(row(estimate=1.5))._repr_html_()
    assert "Simulated registers" in html
    assert "nan" not in html.lower().replace("finance", "")
