"""Who is compared with whom, the outcome unseen."""

from missie_impact.design.balance import Balance, balance
from missie_impact.design.design import Design, WeightModel
from missie_impact.design.matching import match
from missie_impact.design.support import Support
from missie_impact.design.weighting import weight

__all__ = ["Balance", "Design", "Support", "WeightModel", "balance", "match", "weight"]
