"""Becoming structural and entering a market: differences between two arms, by several estimators."""
