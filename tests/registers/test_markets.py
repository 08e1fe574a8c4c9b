import hashlib
import re
from importlib.resources import files

import pytest

from missie_impact.registers import Engine
from missie_impact.registers.markets import market_codes, market_names, market_tables, read_list


def test_two_hundred_markets_and_namibia_among_them():
    rows = read_list("markets")
    assert len(rows) == 200 and {"NA", "BE", "XK", "TW", "HK"} <= {r["market"] for r in rows}
    assert "NL" not in {r["market"] for r in rows}
    assert len({r["name"] for r in rows}) == 200
    near = {r["market"]: float(r["distance_km"]) for r in rows}
    assert 150 < near["BE"] < 200 and 550 < near["DE"] < 600 and 16_000 < near["AU"] < 17_000
    assert max(near.values()) < 20_037 and min(near.values()) == near["BE"]


def test_memberships():
    rows = {(r["list"], r["market"]): r for r in read_list("memberships")}
    count = {name: sum(key[0] == name for key in rows) for name in ("OECD", "BRICS", "DAC")}
    assert count["OECD"] == 37  # 38 members, the Netherlands left out
    five = {m for (name, m), r in rows.items() if name == "BRICS" and int(r["from_year"]) <= 2010}
    assert five == {"BR", "RU", "IN", "CN", "ZA"}
    assert (rows["OECD", "CL"]["from_year"], rows["DAC", "CL"]["to_year"]) == ("2010", "2017")
    assert ("DAC", "DE") not in rows and ("DAC", "KE") in rows
    assert {m for _, m in rows} <= market_codes({})


def test_neighbours_are_mutual():
    pairs = {(r["market"], r["neighbour"]) for r in read_list("neighbours")}
    assert pairs == {(b, a) for a, b in pairs} and all(a != b for a, b in pairs)
    assert {("BE", "FR"), ("GB", "BE"), ("US", "CA")} <= pairs
    assert {a for a, _ in pairs} == market_codes({})


def test_names():
    names = market_names({"XU": "Unknown country", "NL": "Netherlands"})
    assert names["GERMANY"] == "DE" and names["RUSSIAN FEDERATION"] == "RU" and names["DEU"] == "DE"
    assert names["UNKNOWN COUNTRY"] == "XU" and names["XU"] == "XU" and names["NA"] == "NA"
    assert set(names.values()) == market_codes({"XU": "", "NL": ""})


def test_checksums_of_the_sources():
    folder = files("missie_impact.registers") / "data"
    text = (folder / "SOURCES.md").read_text(encoding="utf-8")
    sums = dict(re.findall(r"`(\w+\.csv)` .*`([0-9a-f]{64})`", text))
    assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sums} and len(sums) == 4


def test_extra_markets_have_no_distance():
    with Engine(threads=1) as engine:
        markets, memberships, _ = market_tables(engine, {"GI": "Gibraltar"})
        found = engine.collect(markets, sort_by=["market"]).set_index("market")
        assert len(found) == 201 and found.loc["GI", "name"] == "Gibraltar"
        assert found.loc["GI", ["distance_km", "region"]].isna().all()
        years = engine.collect(memberships, sort_by=["list", "market"])
        assert years["to_year"].isna().any() and years["from_year"].dtype == "int32"


@pytest.mark.parametrize("code", ["NA", "NO", "TR"])
def test_codes_that_look_like_something_else(code):
    assert code in market_codes({})
