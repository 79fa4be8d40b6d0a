"""Periods: the days, weeks (from Monday) or months that a series counts in."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from pandas import Period

_FREQUENCY = {"day": "D", "week": "W-SUN", "month": "M"}
_NUMPY_UNIT = {"day": "D", "month": "M"}

#: Periods after which demand repeats itself: a week of days, a year of weeks, a year of months.
SEASON = {"day": 7, "week": 52, "month": 12}
#: Periods after which the same time of year comes again; of days whole weeks, so that weekdays meet.
YEAR = {"day": 364, "week": 52, "month": 12}
#: Periods that the model reads as one token, unless model.patch says otherwise.
PATCH = {"day": 7, "week": 4, "month": 3}
#: Mean length of a period in days.
DAYS = {"day": 1.0, "week": 7.0, "month": 365.25 / 12}

#: Periods ahead by which a plan was known: where nobody says when it was announced, and where no plan tells of the period.
ALWAYS, NEVER = np.iinfo(np.int16).max, -1

_MONDAY = np.datetime64("1970-01-05", "D")


def shift(start: date, periods: int, grain: str) -> date:
    """First day of the period that lies `periods` after the one holding `start`."""
    return (Period(start, freq=_FREQUENCY[grain]) + periods).start_time.date()


def last_whole(last_day: date, grain: str) -> date:
    """First day of the last period that days up to `last_day` cover to its end: half a week of sales is no week of low sales."""
    whole = shift(last_day, 1, grain) - timedelta(1) == last_day
    return shift(last_day, 0 if whole else -1, grain)


def position(days: np.ndarray, grain: str) -> np.ndarray:
    """Number of the period that holds each day, counted from a fixed origin: neighbours differ by one.

    Args:
        days: any shape, `datetime64[D]`.

    Returns:
        The same shape, int64.
    """
    days = np.asarray(days, "datetime64[D]")
    if grain == "week":
        return (days - _MONDAY).astype(np.int64) // 7
    return days.astype(f"datetime64[{_NUMPY_UNIT[grain]}]").astype(np.int64)


def periods_between(first: str, day: str, grain: str) -> str:
    """SQL for the periods from one to the one that holds a day, both SQL.

    Args:
        first: first day of a period.
    """
    if grain == "month":
        return f"CAST(months_between(trunc({day}, 'MM'), {first}) AS INT)"
    days = f"datediff({day}, {first})"
    return days if grain == "day" else f"CAST(floor({days} / 7) AS INT)"


def starts(first: date, count: int, grain: str) -> list[date]:
    """First days of `count` periods, from the one holding `first`."""
    return [shift(first, index, grain) for index in range(count)]
