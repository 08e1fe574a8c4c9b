"""What ``study.toml`` may say: files, columns, window, currency, markets, and settings of the study."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from missie_impact.definitions import CBS_2024
from missie_impact.errors import SettingsError

from .conform import Reading
from .engine import ENCODINGS
from .markets import extra_markets
from .schema import TABLES, Table

OnDuplicate: TypeAlias = Literal["error", "sum"]
OnEarly: TypeAlias = Literal["error", "count"]

STUDY_KEYS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "name": (str,),
        "currency": (str,),
        "first_year": (int,),
        "last_year": (int,),
        "cohorts": (list,),
        "seed": (int,),
        "on_duplicate": (str,),
        "on_early_participation": (str,),
        "extra_markets": (list, dict),
        "simulated": (str,),
    }
)
FILE_KEYS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "path": (str,),
        "format": (str,),
        "delimiter": (str,),
        "encoding": (str,),
        "decimal": (str,),
        "version": (str,),
        "columns": (dict,),
        "constants": (dict,),
        "market_names": (bool,),
    }
)
ENGINE_KEYS: Mapping[str, tuple[type, ...]] = MappingProxyType({"threads": (int,), "memory_limit": (str,)})
SECTIONS = ("study", "files", "definitions", "engine")


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SimulatedInfo:
    """What is known of simulated registers.

    Attributes
    ----------
    folder : folder of the ``simulated/`` files, None for registers that were not written
    settings : settings they were drawn with
    """

    folder: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True)
class StudySettings:
    """What the file says about the study, handed on and not used here.

    Attributes
    ----------
    name : name of the study
    cohorts : years of support the indicator is computed for
    seed : seed of what is drawn in the study (matching, bootstrap)
    definitions : rules that replace those of `CBS_2024`
    """

    name: str = ""
    cohorts: tuple[int, ...] = ()
    seed: int | None = None
    definitions: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True)
class RegisterSettings:
    """How registers are read and what they cover.

    Attributes
    ----------
    first_year, last_year : window of the data, both included; 0 takes the first and last year of trade, which
        checked registers then hold
    currency : of all amounts
    on_duplicate : "error" or "sum", for trade rows of one key that are not negative
    extra_markets : code -> name of markets that are not in the shipped list
    on_early_participation : "error" or "count", for participations before the firm was founded
    source : where the registers come from, in the user's words
    simulated : what is known of simulated registers; None for a user's own
    study : settings handed on to the study

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> trade = pd.DataFrame({"firm": [1, 1], "market": ["DE", "DE"], "year": [2010, 2011], "value_eur": [100, 50]})
    >>> settings = mi.RegisterSettings(first_year=2008, last_year=2012)
    >>> mi.Registers.from_frames(trade=trade, settings=settings).settings.last_year
    2012
    """

    first_year: int = 0
    last_year: int = 0
    currency: str = "EUR"
    on_duplicate: OnDuplicate = "error"
    extra_markets: Mapping[str, str] = field(default_factory=_empty)
    on_early_participation: OnEarly = "error"
    source: str = ""
    simulated: SimulatedInfo | None = None
    study: StudySettings = StudySettings()

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra_markets", MappingProxyType(extra_markets(self.extra_markets)))
        if self.on_duplicate not in ("error", "sum"):
            raise SettingsError(f"Expected on_duplicate to be 'error' or 'sum', found {self.on_duplicate!r}.")
        if self.on_early_participation not in ("error", "count"):
            given = self.on_early_participation
            raise SettingsError(f"Expected on_early_participation to be 'error' or 'count', found {given!r}.")
        if 0 < self.last_year < self.first_year:
            raise SettingsError(f"Expected first_year <= last_year, found {self.first_year} and {self.last_year}.")

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.name

    @property
    def cohorts(self) -> tuple[int, ...]:
        """Years of support the indicator is computed for."""
        return self.study.cohorts

    @property
    def seed(self) -> int | None:
        """Seed of what is drawn in the study."""
        return self.study.seed

    @property
    def definitions(self) -> Mapping[str, Any]:
        """Rules that replace those of `CBS_2024`."""
        return self.study.definitions


@dataclass(frozen=True, slots=True)
class TableFile:
    """Where one table stands.

    Attributes
    ----------
    path : file or pattern, absolute or relative to the working folder
    file_format : "parquet" or "csv"
    delimiter, encoding : of a CSV
    version : version of the delivery, for the provenance
    reading : how its columns are called and written
    """

    path: Path
    file_format: str
    delimiter: str = ","
    encoding: str = "utf-8"
    version: str = ""
    reading: Reading = field(default_factory=Reading)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A study.toml, read and checked.

    Attributes
    ----------
    folder : folder it stands in, where temporary files may go
    files : table -> its file
    settings : settings of the registers
    threads, memory_limit : of the engine; None for its own choice
    """

    folder: Path
    files: Mapping[str, TableFile]
    settings: RegisterSettings
    threads: int | None = None
    memory_limit: str | None = None


def read_catalogue(path: str | Path) -> Catalogue:
    """Read a study.toml; paths in it are relative to its folder.

    Raises
    ------
    SettingsError
        The file is missing, is no TOML, has an unknown key (named, with those allowed), or a value of a wrong type.
    """
    path = Path(path)
    path = path / "study.toml" if path.is_dir() else path
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise SettingsError(f"Expected a file {path.name} that can be read, found none.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}") from None
    _known("the file", text, SECTIONS)
    study, engine = _typed("[study]", text.get("study", {}), STUDY_KEYS), text.get("engine", {})
    _typed("[engine]", engine, ENGINE_KEYS)
    files = text.get("files", {})
    _known("[files]", files, tuple(TABLES))
    if "trade" not in files:
        raise SettingsError("Expected a table [files.trade], found none: trade is the one table always needed.")
    return Catalogue(
        path.parent,
        MappingProxyType({name: _table_file(TABLES[name], entry, path.parent) for name, entry in files.items()}),
        _settings(study, text.get("definitions", {}), path),
        engine.get("threads"),
        engine.get("memory_limit"),
    )


def _settings(study: Mapping[str, Any], definitions: Mapping[str, Any], path: Path) -> RegisterSettings:
    if not isinstance(definitions, dict):
        raise SettingsError("Expected [definitions] to be a table of rules.")
    CBS_2024.with_changes(definitions)  # a rule that does not exist is said before any file is read
    cohorts = tuple(study.get("cohorts", ()))
    if not all(isinstance(year, int) for year in cohorts):
        raise SettingsError("[study] cohorts: expected a list of years.")
    about = StudySettings(study.get("name", ""), cohorts, study.get("seed"), MappingProxyType(dict(definitions)))
    names = ("first_year", "last_year", "currency", "on_duplicate", "on_early_participation", "extra_markets")
    chosen: dict[str, Any] = {name: study[name] for name in names if name in study}
    simulated = _simulated(path.parent / study["simulated"]) if "simulated" in study else None
    return RegisterSettings(**chosen, source=study.get("name", path.name), simulated=simulated, study=about)


def _simulated(path: Path) -> SimulatedInfo:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SettingsError(
            f"[study] simulated: expected a JSON file {path.name} that can be read; "
            "leave the key out for registers that were not simulated."
        ) from None
    return SimulatedInfo(path.parent, MappingProxyType(dict(settings)))


def _table_file(table: Table, entry: object, folder: Path) -> TableFile:
    where = f"[files.{table.name}]"
    given = _typed(where, entry, FILE_KEYS)
    if "path" not in given:
        raise SettingsError(f"{where}: expected a path, found none.")
    path = folder / given["path"]
    file_format = given.get("format", path.suffix.lstrip(".").lower())
    encoding, decimal = given.get("encoding", "utf-8").lower(), given.get("decimal", ".")
    _among(f"{where} format", file_format, ("parquet", "csv"))
    _among(f"{where} encoding", encoding, ENCODINGS)
    _among(f"{where} decimal", decimal, (".", ","))
    names = tuple(dict.fromkeys(name for c in table.columns for name in (c.source, c.name)))
    columns, constants = given.get("columns", {}), given.get("constants", {})
    _known(f"{where} columns", columns, names)
    _known(f"{where} constants", constants, names)
    if twice := sorted(set(columns) & set(constants)):
        raise SettingsError(f"{where}: expected a column or a constant, found both for {twice}.")
    if not all(isinstance(name, str) for name in columns.values()):
        raise SettingsError(f"{where} columns: expected the name of a column of the file for each.")
    if not all(isinstance(value, str | int | float | bool | date) for value in constants.values()):
        raise SettingsError(f"{where} constants: expected a text, number, date or true/false for each.")
    plain = {name: v.date() if isinstance(v, datetime) else v for name, v in constants.items()}
    names_of_markets = given.get("market_names", False)
    reading = Reading(
        MappingProxyType(dict(columns)), MappingProxyType(plain), decimal, file_format == "csv", names_of_markets
    )
    return TableFile(path, file_format, given.get("delimiter", ","), encoding, given.get("version", ""), reading)


def _typed(where: str, given: object, keys: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise SettingsError(f"{where}: expected a table.")
    _known(where, given, tuple(keys))
    for key, value in given.items():
        if not isinstance(value, keys[key]) or (isinstance(value, bool) and bool not in keys[key]):
            expected = " or ".join(kind.__name__ for kind in keys[key])
            raise SettingsError(f"{where} {key}: expected {expected}, found {type(value).__name__}.")
    return given


def _known(where: str, given: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(given, dict):
        raise SettingsError(f"{where}: expected a table.")
    if unknown := sorted(set(given) - set(allowed)):
        raise SettingsError(f"Unknown keys {unknown} in {where}: expected some of {list(allowed)}.")


def _among(where: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{where}: expected one of {', '.join(allowed)}, found {value!r}.")
