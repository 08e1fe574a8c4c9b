"""When a pair counts as trading."""

from __future__ import annotations

import narwhals as nw

from missie_impact.definitions import Definitions, Flow


def floor_cents(definitions: Definitions) -> int:
    """Return the value in cents above which a pair trades."""
    return round(definitions.min_value_eur * 100)


def is_active(definitions: Definitions, flow: Flow) -> nw.Expr:
    """Return whether a pair trades more than ``min_value_eur`` in a flow; exports and imports are never added up."""
    floor = floor_cents(definitions)
    exports, imports = nw.col("exports_cents") > floor, nw.col("imports_cents") > floor
    return {"export": exports, "import": imports, "either": exports | imports}[flow]
