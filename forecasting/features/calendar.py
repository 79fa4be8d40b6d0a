"""What is known of every period in advance: weekday, month, public holidays, own events. Shared by all series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

import holidays
import pandas as pd

from forecasting.config import FeaturesConfig
from forecasting.errors import ConfigError
from forecasting.periods import shift, starts

FAR = 60  # days beyond which the distance to a holiday is no longer counted


def calendar_features(
    first: date,
    count: int,
    grain: str,
    features: FeaturesConfig,
    events: Iterable[Mapping],
    promotions_until: date | None,
) -> pd.DataFrame:
    """One row per period.

    Args:
        first: a day in the first period.
        count: periods.
        events: rows of the bronze table `calendar`: `date`, `event`.
        promotions_until: last day that the promotion plan covers, or None without one.

    Returns:
        Columns of `calendar_features` but lineage.

    Raises:
        ConfigError: the country or region has no holiday calendar.
    """
    periods = starts(first, count, grain)
    end = shift(periods[-1], 1, grain)
    names = _holiday_names(periods[0] - timedelta(FAR), end + timedelta(FAR), features)
    for event in events:
        names.setdefault(event["date"], []).append(event["event"])
    names = dict(sorted(names.items()))
    days = pd.Series(list(names), dtype="datetime64[ns]")
    frame = pd.DataFrame({"period_start": pd.to_datetime(periods)})
    following = pd.to_datetime([*periods[1:], end])
    start = frame["period_start"]
    inside = [[day for day in names if a.date() <= day < b.date()] for a, b in zip(start, following, strict=True)]
    frame["weekday"] = start.dt.weekday + 1
    frame["day_of_month"] = start.dt.day
    frame["month"] = start.dt.month
    frame["day_of_year"] = start.dt.dayofyear
    frame["holidays"] = [len(found) for found in inside]
    frame["holiday_names"] = ["; ".join(name for day in found for name in names[day]) or None for found in inside]
    frame["days_to_holiday"] = _days_between(start, days, forward=True)
    frame["days_since_holiday"] = _days_between(start, days, forward=False)
    frame["promotions_known"] = [bool(promotions_until and day <= promotions_until) for day in periods]
    frame["period_start"] = start.dt.date
    return frame


def _holiday_names(first: date, last: date, features: FeaturesConfig) -> dict[date, list[str]]:
    try:
        found = holidays.country_holidays(
            features.country, subdiv=features.region, years=range(first.year, last.year + 1), language="en_US"
        )
    except NotImplementedError as error:
        raise ConfigError(
            f"features.country, features.region: expected a country and region known to holidays, came {error}"
        ) from error
    return {day: [name] for day, name in found.items() if first <= day <= last}


def _days_between(start: pd.Series, days: pd.Series, forward: bool) -> list[int]:
    """Days from each start to the next holiday on or after it, or from the last one on or before it; at most FAR."""
    if days.empty:
        return [FAR] * len(start)
    index = days.searchsorted(start, side="left") if forward else days.searchsorted(start, side="right") - 1
    distances = []
    for moment, at in zip(start, index, strict=True):
        near = abs((days.iloc[at] - moment).days) if 0 <= at < len(days) else FAR
        distances.append(min(near, FAR))
    return distances
