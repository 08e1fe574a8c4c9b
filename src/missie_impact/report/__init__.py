"""Results to tables, figures and words. Drawing and workbook libraries are imported here only, inside functions."""

from missie_impact.report.document import write_document
from missie_impact.report.figures import plot
from missie_impact.report.labels import Language, label
from missie_impact.report.results import (
    balance_table,
    curve_points,
    effect_table,
    flow_table,
    indicator_table,
    table,
)
from missie_impact.report.tables import Table, write_table
from missie_impact.report.text import expected_misses, register_line
from missie_impact.report.workbook import write_workbook

__all__ = [
    "Language",
    "Table",
    "balance_table",
    "curve_points",
    "effect_table",
    "expected_misses",
    "flow_table",
    "indicator_table",
    "label",
    "plot",
    "register_line",
    "table",
    "write_document",
    "write_table",
    "write_workbook",
]
