"""What series share and no series carries: calendars of countries and regions, and the covariates of places.

Both are small beside the series: a calendar has a row a period, a covariate one a place and period.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from forecasting.models.spec import Inputs, Signal
from forecasting.periods import position

EVERYWHERE = "ALL"  # location of covariates that hold at every place, but for places that have values of their own
NOWHERE = -1  # the place of which nothing is known, the last of all
PLAIN = 15  # numbers of a period beside its named events, see `_plain`
# Days to the next of an event and since the last one by which a period is told. Few of them: with wider ones most days of a year would
# have a mark of their own, by which a network learns single days by heart.
_TO, _SINCE = ((0, 0), (1, 1), (2, 3)), ((1, 1),)
_FAR = 60
_SEPARATOR = "; "


@dataclass(frozen=True)
class Calendars:
    """Encoded calendars over consecutive periods from number `first`.

    values: [calendars, periods, features]: PLAIN numbers, then those of each named event; reach: [periods], 1 where the
    promotion plan reaches the period.
    """

    first: int
    values: np.ndarray
    reach: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame, inputs: Inputs, grain: str) -> Calendars:
        """From rows of `calendar_features`, in any order."""
        days = np.unique(rows["period_start"].to_numpy("datetime64[D]"))
        frames = [_of_calendar(rows, name) for name in inputs.calendars]
        values = np.stack(
            [np.concatenate([_plain(f, inputs.yearly), _named(f, inputs.events)], axis=1) for f in frames]
        )
        reach = frames[0]["promotions_known"].to_numpy().astype(np.float32)
        return cls(int(position(days[:1], grain)[0]), values.astype(np.float32), reach)

    def window(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Values and reach of periods start to stop - 1; periods outside repeat the edge, and no plan reaches them."""
        index = np.arange(start, stop) - self.first
        inside = (index >= 0) & (index < len(self.reach))
        at = np.clip(index, 0, len(self.reach) - 1)
        return self.values[:, at], self.reach[at] * inside


def calendar_names(rows: pd.DataFrame, own: str) -> tuple[str, ...]:
    """Names of all calendars, that of the configuration first."""
    return tuple(dict.fromkeys([own, *sorted(rows["calendar"].unique())]))


def sees_years(rows: pd.DataFrame, until) -> bool:
    """Whether training up to the period `until` lives through every time of year twice: of one year it would learn its course by
    heart."""
    return (until - rows["period_start"].min()).days >= 2 * 365


def event_names(rows: pd.DataFrame, until) -> tuple[str, ...]:
    """Named holidays and events up to the period `until`: of others a model can learn nothing."""
    past = rows[rows["period_start"] <= until]
    return tuple(sorted({name for column in ("holiday_names", "events") for name in _split(past[column])}))


def _split(column: Iterable[str | None]) -> Iterable[str]:
    return (name for joined in column if isinstance(joined, str) for name in joined.split(_SEPARATOR))


def _of_calendar(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["calendar"] == name].sort_values("period_start", ignore_index=True)


def _plain(calendar: pd.DataFrame, yearly: bool) -> np.ndarray:
    """[periods, PLAIN]: weekday (seven), time of year and position in the month as sine and cosine, the latter also as a line,
    holiday, nearness of the next and the last holiday. The time of year is left out where it has been seen once only."""
    weekday = calendar["weekday"].to_numpy()
    year = 2 * np.pi * calendar["day_of_year"].to_numpy() / 365.25
    month = 2 * np.pi * calendar["day_of_month"].to_numpy() / 30.44
    columns = [(weekday == day).astype(float) for day in range(1, 8)]
    columns += [f(year) * yearly for f in (np.sin, np.cos)] + [f(month) for f in (np.sin, np.cos)]
    columns.append((calendar["day_of_month"].to_numpy() - 15.5) / 15.5)
    columns.append(np.minimum(calendar["holidays"].to_numpy(), 1))
    columns.append(np.exp(-calendar["days_to_holiday"].to_numpy() / 3.0))
    columns.append(np.exp(-calendar["days_since_holiday"].to_numpy() / 3.0))
    assert len(columns) == PLAIN
    return np.stack(columns, axis=1)


def event_width(events: Sequence[str]) -> int:
    """Numbers that tell a period's distance to all named events."""
    return len(events) * (len(_TO) + len(_SINCE))


def _named(calendar: pd.DataFrame, events: Sequence[str]) -> np.ndarray:
    """[periods, event_width]: whether each event lies that many days ahead or behind."""
    start = calendar["period_start"].to_numpy("datetime64[D]")
    inside = [
        set(_split([names])) | set(_split([more]))
        for names, more in zip(calendar["holiday_names"], calendar["events"], strict=True)
    ]
    told = dict(calendar["days_to"].iloc[0]) if len(calendar) else {}
    columns = []
    for name in events:
        if name in told:
            to, since = (np.array([dict(row)[name] for row in calendar[c]]) for c in ("days_to", "days_since"))
        else:
            to, since = _distances(start, start[[name in names for names in inside]])
        columns += [(to >= low) & (to <= high) for low, high in _TO]
        columns += [(since >= low) & (since <= high) for low, high in _SINCE]
    return np.stack(columns, axis=1) if columns else np.zeros((len(calendar), 0))


def _distances(start: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days from each of `start` to the next of the sorted `days` and since the last one, at most _FAR."""
    far = np.timedelta64(_FAR, "D")
    ahead = np.concatenate([days, start[-1:] + 2 * far])[np.searchsorted(days, start, side="left")] - start
    behind = start - np.concatenate([start[:1] - 2 * far, days])[np.searchsorted(days, start, side="right")]
    return tuple(np.minimum(x.astype(np.int64), _FAR) for x in (ahead, behind))


class Signals:
    """Covariates of places as they were known at any origin: as observed up to it, and behind it as forecast by then."""

    def __init__(self, rows: pa.Table | None, signals: Sequence[Signal], grain: str) -> None:
        """
        Args:
            rows: `signal`, `location_id`, `first_period`, `observed`, `forecasts` of `covariates` that all items share; None
                for none.
        """
        self._signals = tuple(signals)
        wanted = {signal.name: number for number, signal in enumerate(self._signals)}
        records = [row for row in rows.to_pylist() if row["signal"] in wanted] if rows is not None else []
        self.places = {place: n for n, place in enumerate(sorted({row["location_id"] for row in records}))}
        first = [int(position(np.datetime64(row["first_period"]), grain)) for row in records]
        self._first = min(first, default=0)
        end = max((f + len(row["observed"]) for f, row in zip(first, records, strict=True)), default=0)
        shape = (len(self.places) + 1, len(wanted), max(0, end - self._first))  # the last place knows nothing
        self._observed = np.full(shape, np.nan, np.float32)
        for begin, row in zip(first, records, strict=True):
            at = begin - self._first
            own = self._observed[self.places[row["location_id"]], wanted[row["signal"]]]
            own[at : at + len(row["observed"])] = row["observed"]
        told = [_Told.of(row["forecasts"] or [], grain) for row in records]
        self._period, self._issued = _Range.of([t.period for t in told]), _Range.of([t.issued for t in told])
        keys = [np.zeros(0, np.int64)]
        for row, each in zip(records, told, strict=True):
            place, number = self.places[row["location_id"]], wanted[row["signal"]]
            keys.append(self._key(place, number, each.period, each.issued))
        keys, values = np.concatenate(keys), np.concatenate([np.zeros(0, np.float32), *(t.value for t in told)])
        order = np.argsort(keys, kind="stable")
        self._keys, self._told = keys[order], values[order]
        # Whose values of a signal a place has: its own, else those of everywhere.
        told_of = np.zeros(shape[:2], bool)
        for row in records:
            told_of[self.places[row["location_id"]], wanted[row["signal"]]] = True
        general = self.places.get(EVERYWHERE, NOWHERE)
        self._whose = np.where(told_of, np.arange(shape[0])[:, None], np.where(told_of[general], general, NOWHERE))
        self._whose[NOWHERE] = NOWHERE
        self._mean = np.array([signal.mean for signal in self._signals], np.float32)
        self._deviation = np.array([signal.deviation for signal in self._signals], np.float32)

    def __len__(self) -> int:
        return len(self._signals)

    def _key(self, place, number, period: np.ndarray, issued: np.ndarray) -> np.ndarray:
        """One number that sorts by place, signal, period and period of issue."""
        slot = (place * len(self._signals) + number) * self._period.count + (period - self._period.first)
        return slot * self._issued.count + (issued - self._issued.first)

    def known_at(self, place: np.ndarray, periods: np.ndarray, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values of periods as known at origins.

        Args:
            place: [n], places of the series, NOWHERE for none. periods, origins: numbers of periods, [n or 1, ...] alike.

        Returns:
            values of about unit size, known (1 or 0): [n, ..., signals] each, float32; 0 where not known.
        """
        periods, origins = np.broadcast_arrays(periods, origins)
        shape = (len(place), *periods.shape[1:])
        place = np.broadcast_to(place.reshape(-1, *[1] * (periods.ndim - 1)), shape)
        periods, origins = np.broadcast_to(periods, shape), np.broadcast_to(origins, shape)
        at = periods - self._first
        measured = (at >= 0) & (at < self._observed.shape[-1]) & (periods <= origins)
        spoken_of = self._period.holds(periods) & (origins >= self._issued.first)
        issued = np.minimum(origins, self._issued.last)
        found = []
        for number in range(len(self._signals)):
            value, whose = np.full(shape, np.nan, np.float32), self._whose[place, number]
            value[measured] = self._observed[whose[measured], number, at[measured]]
            asked = spoken_of & (whose != NOWHERE) & np.isnan(value)
            query = self._key(whose[asked], number, periods[asked], issued[asked])
            if len(query):
                last = np.searchsorted(self._keys, query, side="right") - 1  # -1: all was issued later
                same = (last >= 0) & (self._keys[last] // self._issued.count == query // self._issued.count)
                value[asked] = np.where(same, self._told[last], np.nan)
            found.append(value)
        values = np.stack(found, axis=-1) if found else np.zeros((*shape, 0), np.float32)
        known = ~np.isnan(values)
        return np.where(known, (values - self._mean) / self._deviation, 0.0).astype(np.float32), known.astype(
            np.float32
        )

    def place_of(self, locations: Sequence[str]) -> np.ndarray:
        """Number of each location, that of EVERYWHERE for those without covariates of their own, NOWHERE where there are none."""
        general = self.places.get(EVERYWHERE, NOWHERE)
        return np.array([self.places.get(location, general) for location in locations], np.int32)


@dataclass(frozen=True)
class _Told:
    """What was said of periods in advance: period, period of issue and value of each forecast."""

    period: np.ndarray
    issued: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, forecasts: Sequence[Mapping], grain: str) -> _Told:
        days = [np.array([each[name] for each in forecasts], "datetime64[D]") for name in ("period_start", "issued_on")]
        values = np.array([each["value"] for each in forecasts], np.float32)
        return cls(*(position(day, grain) for day in days), values)


@dataclass(frozen=True)
class _Range:
    """Whole numbers from `first` to `last`, none if `last` is below `first`."""

    first: int
    last: int

    @classmethod
    def of(cls, parts: Sequence[np.ndarray]) -> _Range:
        values = np.concatenate([np.zeros(0, np.int64), *parts])
        return cls(int(values.min()), int(values.max())) if len(values) else cls(0, -1)

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    def holds(self, values: np.ndarray) -> np.ndarray:
        return (values >= self.first) & (values <= self.last)


@dataclass(frozen=True)
class Shared:
    """All that series share."""

    calendars: Calendars
    signals: Signals


@dataclass(frozen=True)
class SharedRows:
    """Rows of the tables `calendar_features` and `covariates` (those that all items share; None for none), as Spark gave them."""

    calendar: pd.DataFrame
    covariates: pa.Table | None
    grain: str

    def of(self, inputs: Inputs) -> Shared:
        """What a model of these inputs reads of them."""
        calendars = Calendars.of(self.calendar, inputs, self.grain)
        return Shared(calendars, Signals(self.covariates, inputs.signals, self.grain))


def signals_of(covariates: pa.Table | None, until: int, grain: str) -> tuple[Signal, ...]:
    """Every covariate of places, with mean and deviation of what was observed up to period `until`; those of events (0 or 1, none
    observed) stay as they are."""
    found: Mapping[str, list[np.ndarray]] = {}
    for row in covariates.to_pylist() if covariates is not None else []:
        count = until + 1 - int(position(np.datetime64(row["first_period"]), grain))
        seen = np.asarray(row["observed"][: max(0, count)], np.float64)
        found.setdefault(row["signal"], []).append(seen[~np.isnan(seen)])
    signals = []
    for name, parts in sorted(found.items()):
        seen = np.concatenate(parts)
        mean, deviation = (seen.mean(), seen.std()) if len(seen) else (0.0, 1.0)
        signals.append(Signal(name, float(np.float32(mean)), float(np.float32(deviation)) or 1.0))
    return tuple(signals)
