"""What a result was made from: inputs, versions, seed and settings. Names and sizes only, never contents or paths."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from missie_impact.display import html_facts, in_language, number_text

LIBRARY = "missie-impact"
WORDS = {
    "en": {
        "title": "Provenance", "simulated": "simulated", "True": "yes", "False": "no", "library": "library",
        "python": "python", "seed": "seed", "settings": "settings", "bytes": "bytes",
    },
    "nl": {
        "title": "Herkomst", "simulated": "gesimuleerd", "True": "ja", "False": "nee", "library": "bibliotheek",
        "python": "Python", "seed": "startgetal", "settings": "instellingen", "bytes": "bytes",
    },
}  # fmt: skip
PACKAGES = ("numpy", "scipy", "pandas", "statsmodels", "linearmodels", "duckdb", "narwhals")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that was read.

    Attributes
    ----------
    name : file name without its folder
    size_bytes : size when it was read
    version : version or period of delivery as its owner calls it, empty where none was given
    """

    name: str
    size_bytes: int
    version: str = ""

    @classmethod
    def of(cls, path: str | Path, version: str = "") -> InputFile:
        """Note a file by its name and size; its folder and contents are not kept."""
        path = Path(path)
        return cls(path.name, path.stat().st_size, version)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a result was made from. Travels with every result and is written beside every table.

    Attributes
    ----------
    inputs : the files read; empty for frames handed over in memory
    library : version of this library
    python, packages : versions of Python and of the packages that compute
    seed : seed of every random draw, None where nothing was drawn
    settings : hash of the settings (see `settings_hash`), empty where there are none
    definitions : the rules that were in force, name and value as text
    simulated : True if any input was drawn by `simulate_registers`
    """

    inputs: tuple[InputFile, ...] = ()
    library: str = ""
    python: str = ""
    packages: tuple[tuple[str, str], ...] = ()
    seed: int | None = None
    settings: str = ""
    definitions: tuple[tuple[str, str], ...] = ()
    simulated: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return plain dicts, lists, texts and numbers, ready for JSON."""
        plain = asdict(self)
        plain["inputs"] = [asdict(file) for file in self.inputs]
        plain["packages"] = dict(self.packages)
        plain["definitions"] = dict(self.definitions)
        return plain

    def to_json(self) -> str:
        """Return the same as JSON text, keys in a fixed order."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_html(self, language: Literal["en", "nl"] = "en") -> str:
        """Return the facts as an HTML table."""
        words = WORDS[language]
        facts: dict[str, object] = {
            words["simulated"]: words[str(self.simulated)],
            words["library"]: self.library,
            words["python"]: self.python,
            words["seed"]: self.seed,
            words["settings"]: self.settings,
        }
        for file in self.inputs:
            size = in_language(number_text(file.size_bytes), file.size_bytes, language)
            facts[file.name] = f"{size} {words['bytes']} {file.version}".strip()
        return html_facts(facts, title=words["title"], simulated=self.simulated, language=language)

    def _repr_html_(self) -> str:
        return self.to_html()


def provenance(
    inputs: Iterable[InputFile] = (),
    *,
    seed: int | None = None,
    settings: Mapping[str, object] | None = None,
    definitions: Mapping[str, object] | None = None,
    simulated: bool = False,
) -> Provenance:
    """Record what a result is being made from, with the versions in use now."""
    return Provenance(
        inputs=tuple(inputs),
        library=version_of(LIBRARY),
        python=platform.python_version(),
        packages=tuple((package, version_of(package)) for package in PACKAGES),
        seed=seed,
        settings=settings_hash(settings) if settings else "",
        definitions=tuple((name, str(value)) for name, value in (definitions or {}).items()),
        simulated=simulated,
    )


def settings_hash(settings: Mapping[str, object]) -> str:
    """Return a short name for settings: equal settings give equal names, whatever their order.

    Sixteen hexadecimal digits of SHA-256 over canonical JSON; what JSON does not know is written as text.
    """
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def version_of(package: str) -> str:
    """Return the installed version of a package, `not installed` where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
