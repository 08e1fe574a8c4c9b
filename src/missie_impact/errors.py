"""One class per cause, so that a caller can catch what it can mend."""

from __future__ import annotations


class MissieError(Exception):
    """Base of every error this library raises on purpose. Messages never hold a firm's value.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> try:
    ...     mi.RiskSet.from_frame(pd.DataFrame({"went": [1]}), outcome="left", treatment="went")
    ... except mi.MissieError as error:
    ...     type(error).__name__
    'SchemaError'
    """


class SchemaError(MissieError, ValueError):
    """A table lacks a column, or a column has the wrong type."""


class DuplicateKeyError(MissieError, ValueError):
    """Two rows share a key that must be unique."""


class UnknownMarketError(MissieError, ValueError):
    """A market code is not in the list of markets."""


class YearRangeError(MissieError, ValueError):
    """A year lies outside the window that the register or the question covers."""


class ParticipationDateError(MissieError, ValueError):
    """A participation lies before the firm was founded."""


class EmptyTableError(MissieError, ValueError):
    """A table that is needed has no row."""


class NoParticipantError(MissieError, ValueError):
    """Nobody in the whole call is treated."""


class NoEventError(MissieError, ValueError):
    """No outcome, or only outcomes, in the whole call."""


class SettingsError(MissieError, ValueError):
    """A setting, an option or a key of study.toml is unknown or contradicts another."""


class SeparationError(MissieError, ValueError):
    """The data separate the outcome perfectly along a term that was asked for, so it has no finite estimate."""


class PositivityError(MissieError, ValueError):
    """Some rows had no chance of the other arm, so there is nobody to compare them with."""


class CollinearityError(MissieError, ValueError):
    """A term is a combination of others."""


class ConvergenceError(MissieError, RuntimeError):
    """The likelihood has no maximum within reach."""


class EngineError(MissieError, RuntimeError):
    """The engine failed; its own words are withheld because they may quote values."""


class MissingValueError(MissieError, ValueError):
    """A column that must be filled in every row is not."""


class MicrodataError(MissieError, TypeError):
    """Something that holds rows of firms was to be saved."""


class DependencyError(MissieError, ImportError):
    """An optional package is needed and not installed."""
