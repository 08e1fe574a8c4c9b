"""From a study.toml to registers."""

from __future__ import annotations

import glob
from pathlib import Path

from missie_impact.errors import SettingsError
from missie_impact.provenance import InputFile

from .assemble import Raw
from .catalogue import TableFile, read_catalogue
from .engine import Engine
from .tables import Registers


def read_registers(path: str | Path) -> Registers:
    """Read and check the registers that a study.toml names; see ``docs/registers.md`` for its keys.

    Parquet files are read in place, as often as they are needed; CSV files are read once. Temporary files may go to a
    folder beside the study.toml, which `Registers.close` removes.

    Parameters
    ----------
    path : the study.toml, or the folder it stands in

    Raises
    ------
    SettingsError
        The study.toml is missing, malformed, or names unknown keys or files.
    MissieError
        A table is unusable; one class per cause, several causes in one message.

    Examples
    --------
    >>> import tempfile
    >>> import missie_impact as mi
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mi.simulate_registers(seed=1, firms=2_000, out=folder, progress=False).close()
    ...     with mi.read_registers(folder) as registers:
    ...         registers.settings.first_year, registers.settings.last_year
    (2004, 2024)
    """
    catalogue = read_catalogue(path)
    files = {name: _found(name, file) for name, file in catalogue.files.items()}
    inputs = tuple(InputFile.of(part, catalogue.files[name].version) for name, parts in files.items() for part in parts)
    engine = Engine(catalogue.folder, threads=catalogue.threads, memory_limit=catalogue.memory_limit)
    try:
        raws = {name: _raw(engine, file) for name, file in catalogue.files.items()}
        return Registers.of_raw(engine, raws, catalogue.settings, inputs)
    except BaseException:
        engine.close()
        raise


def _found(name: str, file: TableFile) -> list[Path]:
    parts = [Path(part) for part in sorted(glob.glob(str(file.path), recursive=True))]
    if not parts:
        raise SettingsError(f"[files.{name}]: expected a file {file.path.name}, found none.")
    return parts


def _raw(engine: Engine, file: TableFile) -> Raw:
    frame = engine.scan(file.path, file_format=file.file_format, delimiter=file.delimiter, encoding=file.encoding)
    return Raw(frame, file.reading)
