"""Settings of exit models that are rarely changed."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Literal, cast, get_args

from missie_impact.effects.fitting.estimate import FitOptions
from missie_impact.errors import SettingsError
from missie_impact.numerics.cox import FittedTies
from missie_impact.numerics.links import LinkName

ExitModel = Literal["cloglog", "logit", "probit", "cox", "conditional"]
UnseenOrigin = Literal["class", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitOptions(FitOptions):
    """Settings of exit models, with those of every fit (:class:`FitOptions`).

    Attributes
    ----------
    baseline : "dummies" (years of follow-up, duration classes), "spline:4" (natural cubic spline of four columns in the
        follow-up or the duration) or "bs:4" (cubic B-spline)
    unseen_origin : rows of spells that began before the data: "class" (a duration class of their own; an error in Cox
        and frailty models, whose clock they do not have) or "drop"
    strata : columns whose combinations have a baseline of their own (Cox), or within which rows are compared
        (conditional; firm and year where none is named)
    ties : "efron"; "breslow", which pulls effects towards zero with yearly data; or "exact", the odds ratio of the
        discrete hazard, for small tables and model-based errors (Cox only)
    horizon : years of follow-up of the standardised survival of an own table; trials have that of their definitions

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 0, 1, 1], "year": 1, "left": [0, 1, 0, 1], "rows": [80, 20, 90, 10]})
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", duration="year", frequency="rows")
    >>> options = mi.ExitOptions(duration_classes=None, conf_level=0.9)
    >>> mi.market_exit(risk, cluster=None, controls=None, options=options).conf_level
    0.9
    """

    baseline: str = "dummies"
    unseen_origin: UnseenOrigin = "class"
    strata: tuple[str, ...] = ()
    ties: FittedTies = "efron"
    horizon: int = 5

    def __post_init__(self) -> None:
        FitOptions.__post_init__(self)
        if self.baseline != "dummies" and spline_of(self.baseline) is None:
            raise SettingsError(
                f"baseline: expected 'dummies', 'spline:4' or 'bs:4' (any number of columns), found {self.baseline!r}."
            )
        if self.unseen_origin not in get_args(UnseenOrigin):
            raise SettingsError(f"unseen_origin: expected 'class' or 'drop', found {self.unseen_origin!r}.")
        if isinstance(self.strata, str):
            raise SettingsError(f"strata: expected a tuple of columns, found {self.strata!r}.")
        if self.ties not in get_args(FittedTies):
            raise SettingsError(f"ties: expected one of {list(get_args(FittedTies))}, found {self.ties!r}.")
        if self.horizon < 1:
            raise SettingsError(f"horizon: expected at least one year of follow-up, found {self.horizon}.")


def exit_options(options: FitOptions) -> ExitOptions:
    """Take the settings of any fit as those of an exit model."""
    if isinstance(options, ExitOptions):
        return options
    return ExitOptions(**{f.name: getattr(options, f.name) for f in fields(FitOptions)})


def spline_of(baseline: str) -> tuple[str, int] | None:
    """Return kind ("ns" or "bs") and columns of a baseline that is a spline."""
    found = re.fullmatch(r"(spline|ns|bs)(?::|\()(\d+)\)?", baseline.replace(" ", ""))
    return None if found is None else ("bs" if found.group(1) == "bs" else "ns", int(found.group(2)))


def check_model(model: str, options: ExitOptions) -> None:
    """Settings that another model would need are an error, not ignored.

    Raises
    ------
    SettingsError
        If the model is unknown, or strata are asked for in a model without any.
    """
    if model not in get_args(ExitModel):
        raise SettingsError(f"model: expected one of {list(get_args(ExitModel))}, found {model!r}.")
    if options.strata and model not in ("cox", "conditional"):
        raise SettingsError(f"strata {list(options.strata)}: only model='cox' and 'conditional' have strata.")


def link_of(model: ExitModel) -> LinkName:
    """Return the link of a discrete-time hazard.

    Raises
    ------
    SettingsError
        If the model is none.
    """
    for link in get_args(LinkName):
        if model == link:
            return cast(LinkName, link)
    raise SettingsError(f"model={model!r}: expected a discrete-time hazard, one of {list(get_args(LinkName))}.")
