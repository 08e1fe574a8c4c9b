"""Raw files to checked tables."""

from .catalogue import RegisterSettings, SimulatedInfo, StudySettings, read_catalogue
from .check import CheckReport, Finding
from .engine import Engine
from .read import read_registers
from .schema import TABLES, schema_markdown
from .spark import SparkEngine
from .tables import Registers

__all__ = [
    "TABLES",
    "CheckReport",
    "Engine",
    "Finding",
    "RegisterSettings",
    "Registers",
    "SimulatedInfo",
    "SparkEngine",
    "StudySettings",
    "read_catalogue",
    "read_registers",
    "schema_markdown",
]
