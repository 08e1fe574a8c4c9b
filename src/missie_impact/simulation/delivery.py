"""Register files as a statistical office would deliver them: written once, whole or not at all, and read back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import narwhals as nw
import pandas as pd

from missie_impact.errors import SettingsError
from missie_impact.provenance import LIBRARY, version_of
from missie_impact.registers.engine import Engine, Lazy
from missie_impact.simulation.assembly import RegisterDraw, text_of_codes

MANIFEST, STUDY = "manifest.json", "study.toml"
SIMULATED_SETTINGS, POTENTIAL = "simulated/settings.json", "simulated/potential_outcomes.parquet"
TABLE_FILES: Mapping[str, str] = {
    "trade": "trade.parquet",
    "firms": "firms.parquet",
    "affiliates": "affiliates.csv",
    "participations": "participations.csv",
    "links": "links.csv",
    "identity_changes": "identity_changes.csv",
}
SORT_KEYS: Mapping[str, tuple[str, ...]] = {
    "trade": ("firm", "market", "year", "flow", "kind", "value_eur"),
    "firms": ("firm", "year"),
    "affiliates": ("firm", "market", "year"),
    "participations": ("date", "instrument", "market", "kvk", "person"),
    "links": ("kvk", "valid_from"),
    "identity_changes": ("date", "old_firm"),
    "potential": ("outcome", "year", "firm", "market"),
}
DATES: Mapping[str, tuple[str, ...]] = {
    "participations": ("date",),
    "links": ("valid_from", "valid_to"),
    "identity_changes": ("date",),
}
HASH_BLOCK = 1 << 20
ROWS_AT_ONCE = 200_000

Step = Callable[[str], None]


def stage_tables(draw: RegisterDraw, engine: Engine, step: Step) -> dict[str, Lazy]:
    """Bring all tables into an engine, as plans with the neutral column names of files.

    Parameters
    ----------
    step : called with a word for each piece of work that is done
    """
    codes = {name: engine.take(frame) for name, frame in text_of_codes().items()}
    markets = pd.DataFrame({"market": range(len(draw.world.markets.codes)), "market_text": draw.world.markets.codes})
    codes["market"] = engine.take(markets)
    tables = {
        "trade": _coded(_years(draw.trade_frames(), engine, step, "trade"), codes, ("market", "flow", "kind")),
        "firms": _coded(_years(draw.firm_frames(), engine, step, "firms"), codes, ("sector", "region")),
    }
    others = {
        "affiliates": draw.affiliates,
        "participations": draw.participations,
        "links": draw.links,
        "identity_changes": draw.identity_changes,
    }
    for name, make in others.items():
        taken = engine.take(make())
        dates = DATES.get(name, ())
        tables[name] = taken.with_columns(nw.col(*dates).cast(nw.Date)) if dates else taken
        step(name)
    return tables


def write_delivery(draw: RegisterDraw, folder: Path, settings: Mapping[str, Any], step: Step) -> None:
    """Write all files into a folder, each under a temporary name first; the manifest is completed last."""
    refuse_foreign_files(folder)
    (folder / "simulated").mkdir(parents=True, exist_ok=True)
    _write_text(folder / MANIFEST, json_text(manifest(settings, {})))
    record = {**settings, "indicator_edits": [_plain(edit) for edit in draw.edits]}
    with Engine(folder) as engine:
        tables = stage_tables(draw, engine, step)
        for name, file in TABLE_FILES.items():
            _write_table(engine, tables[name], folder / file, SORT_KEYS[name])
            step(file)
        potential = engine.take(draw.potential_outcomes())
        _write_table(engine, potential, folder / POTENTIAL, SORT_KEYS["potential"])
    _write_text(folder / SIMULATED_SETTINGS, json_text(record))
    _write_text(folder / STUDY, study_text(settings))
    names = (*TABLE_FILES.values(), SIMULATED_SETTINGS, POTENTIAL, STUDY)
    _write_text(folder / MANIFEST, json_text(manifest(settings, {n: _describe(folder / n) for n in names})))
    step(MANIFEST)


def delivery_agrees(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Tell whether a folder holds a whole delivery of exactly these settings, written by this version."""
    known = _read_manifest(folder)
    files = known.get("files")
    wanted = json.loads(json_text(manifest(settings, {})))
    if not files or {**known, "files": {}} != wanted:
        return False
    sizes = {name: path.stat().st_size if (path := folder / name).is_file() else -1 for name in files}
    return all(sizes[name] == entry["bytes"] for name, entry in files.items())


def refuse_foreign_files(folder: Path) -> None:
    """Refuse to write over files that this library did not write.

    Raises
    ------
    SettingsError
        The folder holds a file of the same name and no manifest of simulated registers.
    """
    if _read_manifest(folder).get("simulated") is True:
        return
    found = [name for name in (*TABLE_FILES.values(), STUDY, MANIFEST) if (folder / name).exists()]
    if found:
        raise SettingsError(
            f"out: expected an empty folder or one with simulated registers, found {len(found)} other files "
            f"({', '.join(found)}); choose another folder."
        )


def manifest(settings: Mapping[str, Any], files: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said about a delivery; without files it is not complete."""
    return {
        "simulated": True,
        "library": LIBRARY,
        "version": version_of(LIBRARY),
        "settings": dict(settings),
        "files": dict(files),
    }


def study_text(settings: Mapping[str, Any]) -> str:
    """Return the study.toml that reads the delivery back."""
    world = settings["world"]
    last_cohort = world["last_year"] - 3
    cohorts = [year for year in (2020, 2021) if world["first_year"] <= year <= last_cohort]
    lines = [
        "# Simulated registers: no firm in them exists.",
        "[study]",
        f'name = "simulated registers, seed {world["seed"]}, {world["firms"]} firms"',
        'currency = "EUR"',
        f"first_year = {world['first_year']}",
        f"last_year = {world['last_year']}",
        f"cohorts = {cohorts}",
        f"seed = {world['seed']}",
        f'simulated = "{SIMULATED_SETTINGS}"',
    ]
    for name, file in TABLE_FILES.items():
        lines += ["", f"[files.{name}]", f'path = "{file}"', f'format = "{Path(file).suffix[1:]}"']
    return "\n".join(lines) + "\n"


def json_text(content: Mapping[str, Any]) -> str:
    """Return JSON in a fixed layout, so that equal settings give equal bytes."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _years(frames: Iterator[pd.DataFrame], engine: Engine, step: Step, name: str) -> Lazy:
    """Take frames in, several small ones at a time: each handing over costs as much as some thousand rows."""
    pieces, waiting = [], []
    for frame in frames:
        waiting.append(frame)
        if sum(map(len, waiting)) >= ROWS_AT_ONCE:
            pieces.append(engine.take(pd.concat(waiting, ignore_index=True)))
            waiting = []
        step(name)
    if waiting:
        pieces.append(engine.take(pd.concat(waiting, ignore_index=True)))
    return nw.concat(pieces) if len(pieces) > 1 else pieces[0]


def _coded(frame: Lazy, codes: Mapping[str, Lazy], columns: tuple[str, ...]) -> Lazy:
    """Replace codes by their texts, columns in the same order."""
    order = frame.collect_schema().names()
    for column in columns:
        frame = frame.with_columns(nw.col(column).cast(nw.Int64)).join(codes[column], on=column, how="inner")
    texts = {column: f"{column}_text" for column in columns}
    return frame.select(nw.col(texts.get(name, name)).alias(name) for name in order)


def _write_table(engine: Engine, table: Lazy, path: Path, sort_by: tuple[str, ...]) -> None:
    part = path.with_name(f".part_{path.name}")
    with suppress(FileNotFoundError):
        part.unlink()
    engine.write(table, part, sort_by=sort_by)
    os.replace(part, path)


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f".part_{path.name}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _describe(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(HASH_BLOCK):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _plain(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}
