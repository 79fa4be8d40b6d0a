"""What is known of every period in advance, in one country or region: weekday, month, holidays, retail and own events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

import holidays
import numpy as np
import pandas as pd

from forecasting.errors import ConfigError
from forecasting.features.retail_events import event_dates
from forecasting.periods import shift

_STEP = {"day": "D", "week": "7D", "month": "MS"}
FAR = 60  # days beyond which the distance to a holiday or an event is no longer counted

_NEVER = np.array(["9999-12-31"], "datetime64[D]")
_LONG_AGO = np.array(["0001-01-01"], "datetime64[D]")


def calendar_features(
    first: date,
    count: int,
    grain: str,
    country: str,
    region: str | None,
    events: Sequence[str],
    own: Iterable[Mapping],
    promotions_until: date | None,
) -> pd.DataFrame:
    """One row per period.

    Args:
        first: a day in the first period.
        count: periods.
        events: names of retail events, out of `retail_events.EVENTS`.
        own: the user's own events, those that hold in this country or at this place: `date`, `event`. One named like
            a retail event adds its days to it.
        promotions_until: last day that the promotion plan covers, or None without one.

    Returns:
        `period_start`, `weekday`, `day_of_month`, `month`, `day_of_year`; `holidays` (days of the period with a public
        holiday or an own event), `holiday_names`, `days_to_holiday`, `days_since_holiday` (from the first day of the
        period); `promotions_known`; `events` (names of the retail events inside, joined by "; ",
        or None); `days_to` and `days_since`: per row a dict from the name of every retail and own event to the days
        to the next and since the last one, 0 where the event lies inside the period. No distance exceeds FAR.

    Raises:
        ConfigError: the country or region has no holiday calendar, or an event is unknown.
    """
    edges = _edges(first, count, grain)
    *periods, end = edges.tolist()
    near = periods[0] - timedelta(FAR), end + timedelta(FAR)
    own = list(own)
    retail = {name: event_dates(name, *near, country) for name in events}
    names = _holiday_names(*near, country, region)
    for event in own:
        names.setdefault(event["date"], []).append(event["event"])
    days_to_holiday, days_since_holiday = _distances(_days(names), edges[:-1])
    days_to, days_since = _distances_by_event(retail, own, edges)
    start = pd.Series(pd.to_datetime(edges[:-1]))
    return pd.DataFrame(
        {
            "period_start": periods,
            "weekday": start.dt.weekday + 1,
            "day_of_month": start.dt.day,
            "month": start.dt.month,
            "day_of_year": start.dt.dayofyear,
            "holidays": _days_inside(_days(names), edges),
            "holiday_names": _joined(((day, name) for day, found in names.items() for name in found), edges),
            "days_to_holiday": days_to_holiday,
            "days_since_holiday": days_since_holiday,
            "promotions_known": [bool(promotions_until and day <= promotions_until) for day in periods],
            "events": _joined(((day, name) for name, found in retail.items() for day in found), edges),
            "days_to": days_to,
            "days_since": days_since,
        }
    )


def _edges(first: date, count: int, grain: str) -> np.ndarray:
    """First days of the periods, and of the one after them, `datetime64[D]`. All at once: thirty years are 11,000."""
    return pd.date_range(shift(first, 0, grain), periods=count + 1, freq=_STEP[grain]).to_numpy("datetime64[D]")


def _holiday_names(first: date, last: date, country: str, region: str | None) -> dict[date, list[str]]:
    try:
        found = holidays.country_holidays(
            country, subdiv=region, years=range(first.year, last.year + 1), language="en_US"
        )
    except NotImplementedError as error:
        raise ConfigError(
            f"features.country, features.region: expected a country and region known to holidays, came {error}"
        ) from error
    return {day: [name] for day, name in found.items() if first <= day <= last}


def _days(days: Iterable[date]) -> np.ndarray:
    """The distinct days in order, `datetime64[D]`."""
    return np.unique(np.array(list(days), "datetime64[D]"))


def _days_inside(days: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many of the sorted days each period holds; period i runs from edges[i] to the day before edges[i + 1]."""
    return np.diff(np.searchsorted(days, edges))


def _distances(days: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days from each start to the next of the sorted days on or after it, and from the last on or before it."""
    ahead = np.concatenate([days, _NEVER])[np.searchsorted(days, start, side="left")] - start
    behind = start - np.concatenate([_LONG_AGO, days])[np.searchsorted(days, start, side="right")]
    return np.minimum(ahead.astype(np.int64), FAR), np.minimum(behind.astype(np.int64), FAR)


def _distances_by_event(
    retail: Mapping[str, list[date]], own: Sequence[Mapping], edges: np.ndarray
) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
    """For each period the distances to and from every event, by name."""
    dates = {name: list(found) for name, found in retail.items()}
    for event in own:
        dates.setdefault(event["event"], []).append(event["date"])
    ahead = np.empty((len(edges) - 1, len(dates)), np.int64)  # (periods, events)
    behind = np.empty_like(ahead)
    for column, found in enumerate(dates.values()):
        days = _days(found)
        inside = _days_inside(days, edges) > 0
        to, since = _distances(days, edges[:-1])
        ahead[:, column] = np.where(inside, 0, to)
        behind[:, column] = np.where(inside, 0, since)
    return _rows(dates, ahead), _rows(dates, behind)


def _rows(names: Iterable[str], distances: np.ndarray) -> list[dict[str, int]]:
    names = list(names)
    return [dict(zip(names, row, strict=True)) for row in distances.tolist()]


def _joined(named: Iterable[tuple[date, str]], edges: np.ndarray) -> list[str | None]:
    """The names inside each period in the order of their days, joined by "; ", or None."""
    named = sorted(named, key=lambda pair: pair[0])
    inside: list[list[str]] = [[] for _ in edges[1:]]
    at = np.searchsorted(edges, np.array([day for day, _ in named], "datetime64[D]"), side="right") - 1
    for index, (_, name) in zip(at.tolist(), named, strict=True):
        if 0 <= index < len(inside):
            inside[index].append(name)
    return ["; ".join(found) or None for found in inside]
