from __future__ import annotations

import json
import platform
from pathlib import Path

import numpy
import pytest

from missie_impact.provenance import InputFile, Provenance, provenance, settings_hash, version_of


def test_a_file_is_known_by_name_and_size_only(tmp_path: Path) -> None:
    path = tmp_path / "trade.csv"
    path.write_text("firm,market\n4711,BE\n", encoding="utf-8")
    made = provenance([InputFile.of(path, "2024-06")], seed=1, simulated=True)
    assert made.inputs == (InputFile("trade.csv", 20, "2024-06"),)
    shown = made.to_json() + made._repr_html_() + repr(made)
    assert "4711" not in shown and str(tmp_path) not in shown


def test_versions_of_what_computes() -> None:
    made = provenance()
    assert made.python == platform.python_version()
    assert dict(made.packages)["numpy"] == numpy.__version__
    assert version_of("no-such-package-anywhere") == "not installed"


def test_json_comes_back() -> None:
    made = provenance(seed=7, settings={"firms": 10}, definitions={"gap_years": 2}, simulated=True)
    back = json.loads(made.to_json())
    assert back == made.to_dict()
    assert (back["seed"], back["simulated"], back["definitions"]) == (7, True, {"gap_years": "2"})


def test_settings_have_one_name_whatever_their_order() -> None:
    assert settings_hash({"a": 1, "b": [2, 3]}) == settings_hash({"b": [2, 3], "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})
    # SHA-256 of the text {"a":1}, first sixteen digits, by sha256sum
    assert settings_hash({"a": 1}) == "015abd7f5cc57a2d"


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Provenance().seed = 3
