"""Leaving a market: models of the hazard of exit."""
