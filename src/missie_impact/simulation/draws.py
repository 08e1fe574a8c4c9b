"""Purposes of the random numbers behind the register files, apart from those of the two worlds."""

from __future__ import annotations

from enum import IntEnum
from typing import cast

import numpy as np
from numpy.typing import NDArray

from missie_impact.simulation.keys import Floats, Ints, Keys, Purpose, normal, uniform


class FilePurpose(IntEnum):
    """What a number is drawn for; never reuse one for another use. Those of the worlds lie below 1000."""

    EVENT = 1001
    EVENT_YEAR = 1002
    EVENT_DAY = 1003
    SECOND_EVENT = 1004
    SECOND_EVENT_YEAR = 1005
    SPLIT_PAIR = 1006
    UNLINKED = 1010
    SECOND_NUMBER = 1011
    WHICH_NUMBER = 1012
    FOREIGN = 1020
    GROUP_RING = 1021
    SECTOR = 1022
    REGION = 1023
    BALANCE = 1024
    BALANCE_YEAR = 1025
    SAMPLED = 1026
    IMPORT_FIRM = 1030
    IMPORT_PAIR = 1031
    IMPORT_YEAR = 1032
    IMPORT_VALUE = 1033
    SERVICE_FIRM = 1040
    SERVICE_PAIR = 1041
    SERVICE_YEAR = 1042
    SERVICE_VALUE = 1043
    SERVICE_IMPORT_PAIR = 1050
    SERVICE_IMPORT_YEAR = 1051
    SERVICE_IMPORT_VALUE = 1052
    CORRECTION = 1060
    CORRECTION_SIZE = 1061
    SUPPORT = 1070
    SUPPORT_KNOWN = 1071
    SUPPORT_MARKET = 1072
    SUPPORT_INSTRUMENT = 1073
    SUPPORT_DAY = 1074
    SUPPORT_SLOTS = 1075
    PERSONS = 1080
    PERSON = 1081
    OTHER_ORGANISATION = 1082
    EVENT_DATE = 1083
    OTHER_BIRTH = 1100
    OTHER_DEATH = 1101
    OTHER_KIND = 1102
    OTHER_SIZE = 1103
    OTHER_MARKETS = 1104
    OTHER_MARKET = 1105
    OTHER_ACTIVE = 1106
    OTHER_LEVEL = 1107
    OTHER_NOISE = 1108


def draw(keys: Keys, purpose: FilePurpose, when: int = 0) -> Floats:
    """Draw a number in (0, 1) per key; ``when`` is a year or a counter."""
    return uniform(keys, cast(Purpose, purpose), when)


def draw_normal(keys: Keys, purpose: FilePurpose, when: int = 0) -> Floats:
    """Draw a standard normal number per key; ``when`` is a year or a counter."""
    return normal(keys, cast(Purpose, purpose), when)


def draw_dates(uniforms: Floats, year: int | Ints) -> NDArray[np.datetime64]:
    """Spread uniforms evenly over the days of their year (the last day of a leap year is left out)."""
    first = (np.asarray(year, dtype=np.int64) - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    return np.asarray(first + np.floor(uniforms * 365).astype("timedelta64[D]"))
