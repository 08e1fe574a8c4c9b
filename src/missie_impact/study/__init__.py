"""The study: published figures beside estimates and truth, on any registers."""

from missie_impact.study import figure as _figure  # noqa: F401 - registers how a replication is drawn
from missie_impact.study.evaluation import evaluation_report, write_report
from missie_impact.study.records import Replication, ReplicationRow
from missie_impact.study.run import replicate

__all__ = ["Replication", "ReplicationRow", "evaluation_report", "replicate", "write_report"]
