"""Results to tables and words. Drawing libraries are imported in this room only, inside functions."""

from missie_impact.report.labels import Language, label
from missie_impact.report.tables import Table, write_table
from missie_impact.report.text import expected_misses, register_line

__all__ = ["Language", "Table", "expected_misses", "label", "register_line", "write_table"]
