"""From rows of a risk set to a fit, its scales and their joint errors: what all estimators share."""
