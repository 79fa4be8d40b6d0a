"""A plan laid on the series: the same sequences with other prices and promotions ahead, and the same calendar with further events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import reduce

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.demand.aggregate import SERIES
from forecasting.errors import SourceError
from forecasting.features.calendar import FAR
from forecasting.lake import rows
from forecasting.models.shared import SharedRows
from forecasting.periods import ALWAYS, position
from forecasting.scenarios.plan import NO_PROMOTION, SELECTORS, Ahead

KNOWN = ALWAYS - 1  # periods ahead by which what a plan says had been announced: before any origin
_OF_A_LINE = ("price", "price_change", "promotion", "promotion_depth", "display", "mailer", "in_stock", "event")
PRICE, PROMOTION = (
    ("price", "price_change"),
    ("promotion",),
)  # columns of a line that say what becomes of prices and promotions
_SHARES = ("promotion_depth", "display", "mailer")  # known-future columns that a line's column of this name gives
_AHEAD_OF = {
    "day": "datediff({day}, DATE'{origin}')",
    "week": "CAST(floor(datediff({day}, DATE'{origin}') / 7) AS INT)",
    "month": "CAST(months_between(trunc({day}, 'MM'), DATE'{origin}') AS INT)",
}


def touched(sequences: DataFrame, plan: DataFrame, name: str, ahead: Ahead) -> DataFrame:
    """The series that a plan changes.

    Args:
        sequences: gold `sequences`. plan: as `plan.checked` gives it.

    Returns:
        The columns of sequences, and `changes`: array of struct(line, begin, end, and what the line says), in the order of lines; begin and
        end are the first and last period, counted from the origin.

    Raises:
        SourceError: a line that holds for no series.
    """
    since = {column: F.expr(_AHEAD_OF[ahead.grain].format(day=column, origin=ahead.origin)) for column in ("starts_on", "ends_on")}  # fmt: skip
    spans = plan.withColumns(
        {
            "begin": F.greatest(since["starts_on"], F.lit(1)),
            "end": F.least(since["ends_on"], F.lit(ahead.horizon)),
        }
    )
    change = F.struct("line", "begin", "end", *_OF_A_LINE).alias("change")
    matches = [
        _joined(sequences.select(*SELECTORS), spans.where(_says(chosen)), chosen).select(*SERIES, change)
        for chosen in _selections(plan)
    ]
    matched = reduce(DataFrame.unionByName, matches)
    _refuse_unmatched(plan, matched, name)
    of_series = matched.groupBy(*SERIES).agg(F.sort_array(F.collect_list("change")).alias("changes"))
    return sequences.join(of_series, on=list(SERIES))


def comparable(series: DataFrame, horizon: int) -> DataFrame:
    """The series with a price for every period ahead where a plan changes one: that of the price list, or else the last one seen goes
    on. So both forecasts know a price, and differ in it alone.

    Args:
        series: as `touched` gives them.
    """
    last = F.element_at("price", -1)
    told = {
        "planned_price": _ahead("planned_price", horizon, lambda price, _: F.when(price > 0, price).otherwise(last)),
        "price_announced": _ahead("price_announced", horizon, lambda *_: F.lit(KNOWN), none=ALWAYS, kind="smallint"),
    }
    return _of_those_with(series, PRICE, told)


def with_plan(series: DataFrame, horizon: int) -> DataFrame:
    """The series as the plan has them.

    Args:
        series: as `comparable` gives them.
    """

    def promoted(value: Callable[[Column, Column], Column]) -> Callable[[Column, Column, Column], Column]:
        return lambda change, _, at: F.when(change["promotion"] == NO_PROMOTION, 0.0).otherwise(value(change, at))

    prices = {
        "planned_price": _otherwise(
            "planned_price",
            horizon,
            PRICE,
            lambda change, old, _: F.coalesce(change["price"], old * (1 + change["price_change"])),
        )
    }
    values = {
        "promotion": promoted(lambda *_: F.lit(1.0)),
        "promotion_periods_left": promoted(lambda change, at: change["end"] - at + 1),
        **{name: promoted(lambda change, _, name=name: F.coalesce(change[name], F.lit(0.0))) for name in _SHARES},
    }
    promotions = {name: _otherwise(name, horizon, PROMOTION, value) for name, value in values.items()}
    promotions["promotion_kinds"] = _kinds(horizon)
    promotions["promotion_announced"] = _otherwise(
        "promotion_announced", horizon, PROMOTION, lambda *_: F.lit(KNOWN), none=ALWAYS, kind="smallint"
    )
    return _of_those_with(_of_those_with(series, PRICE, prices), PROMOTION, promotions)


def _of_those_with(series: DataFrame, of: Sequence[str], values: Mapping[str, Column]) -> DataFrame:
    """New values of columns for the series of which some line gives one of these columns; the others keep theirs."""
    some = F.exists("changes", lambda change: _gives(change, of))
    return series.withColumns({name: F.when(some, value).otherwise(F.col(name)) for name, value in values.items()})


def shared_with_plan(shared: SharedRows, plan: DataFrame, ahead: Ahead) -> tuple[SharedRows, SharedRows]:
    """What series share, for the forecast without the plan and for that with it.

    Both take the promotion plan as complete up to the last day of the plan's promotions, so that they differ in the promotions alone; the
    second one has the plan's events.
    """
    promoted = plan.where(F.col("promotion").isNotNull()).agg(F.max("ends_on").alias("until")).first()["until"]
    calendar = shared.calendar
    if promoted is not None:
        reached = calendar["promotions_known"] | (calendar["period_start"] <= promoted)
        calendar = calendar.assign(promotions_known=reached)
    without = replace(shared, calendar=calendar)
    events = plan.where(F.col("event").isNotNull()).select("event", "starts_on", "ends_on").orderBy("line")
    for row in rows(events):
        calendar = with_event(calendar, row["event"], row["starts_on"], row["ends_on"], ahead.grain)
    return without, replace(shared, calendar=calendar)


def with_event(calendar: pd.DataFrame, event: str, first: date, last: date, grain: str) -> pd.DataFrame:
    """Rows of `calendar_features` with one more event from its first to its last day, in every calendar."""
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    starts = calendar["period_start"].to_numpy("datetime64[D]")
    inside = np.isin(position(starts, grain), position(days, grain))
    to, since = (np.where(inside, 0, np.minimum(_days_between(starts, days, sign), FAR)) for sign in (1, -1))
    retail = any(event in (names or "").split("; ") for names in calendar["events"])
    column = "events" if retail else "holiday_names"
    names = [f"{old}; {event}" if old and here else event if here else old for old, here in zip(calendar[column], inside, strict=True)]  # fmt: skip
    told = {column: names} | {
        name: [row | {event: min(row[event], int(far))} if event in row else row for row, far in zip(map(dict, calendar[name]), distance, strict=True)]
        for name, distance in (("days_to", to), ("days_since", since))
    }  # fmt: skip
    if not retail:
        told["holidays"] = calendar["holidays"] + inside
        told |= {f"days_{name}_holiday": np.minimum(calendar[f"days_{name}_holiday"], distance) for name, distance in (("to", to), ("since", since))}  # fmt: skip
    return calendar.assign(**told)


def _days_between(starts: np.ndarray, days: np.ndarray, sign: int) -> np.ndarray:
    """Days from each start to the nearest of the days that lies ahead of it (sign 1) or behind it (-1)."""
    apart = sign * (days[None] - starts[:, None]).astype(np.int64)
    return np.where(apart >= 0, apart, FAR).min(axis=1)


def last_change(at: Column, of: Sequence[str]) -> Column:
    """Of `changes` the last one that holds in period `at`, counted from the origin, and gives one of these columns; null if none does."""
    found = F.filter("changes", lambda change: (change["begin"] <= at) & (at <= change["end"]) & _gives(change, of))
    return F.try_element_at(found, F.lit(-1))


def _gives(change: Column, of: Sequence[str]) -> Column:
    return reduce(Column.__or__, (change[name].isNotNull() for name in of))


def _ahead(
    array: str | Column, horizon: int, value: Callable[[Column, Column], Column], none: float = 0, kind: str = "float"
) -> Column:
    """An array of known-future values with those ahead replaced by `value(old, period counted from the origin)`.

    Args:
        none: value of each period where the series has no such array.
    """
    array = F.col(array) if isinstance(array, str) else array
    whole = F.coalesce(array, F.array_repeat(F.lit(none).cast(kind), F.col("length") + horizon))
    past = F.slice(whole, F.lit(1), F.col("length"))
    ahead = F.slice(whole, F.col("length") + 1, F.lit(horizon))
    return F.concat(past, F.transform(ahead, lambda old, at: value(old, at + 1).cast(kind)))


def _otherwise(
    array: str | Column,
    horizon: int,
    of: Sequence[str],
    value: Callable[[Column, Column, Column], Column],
    none: float = 0,
    kind: str = "float",
) -> Column:
    """The same with `value(line, old, period)` where a line gives one of these columns; of several lines the last one counts."""

    def of_period(old: Column, at: Column) -> Column:
        change = last_change(at, of)
        return F.when(change.isNull(), old).otherwise(value(change, old, at))

    return _ahead(array, horizon, of_period, none, kind)


def _kinds(horizon: int) -> Column:
    """`promotion_kinds` as the plan has them: of each kind that the series or the plan names, its array."""
    named = F.transform("changes", lambda change: change["promotion"])
    named = F.filter(named, lambda kind: kind.isNotNull() & (kind != NO_PROMOTION))
    kinds = F.array_union(F.map_keys("promotion_kinds"), named)

    def of_kind(kind: Column) -> Column:
        def share(change: Column, *_: Column) -> Column:
            return F.when(change["promotion"] == kind, 1.0).otherwise(0.0)

        return _otherwise(F.try_element_at("promotion_kinds", kind), horizon, PROMOTION, share)

    return F.map_from_entries(F.transform(kinds, lambda kind: F.struct(kind, of_kind(kind))))


def _selections(plan: DataFrame) -> list[tuple[str, ...]]:
    """Which attributes lines choose series by: of each kind of line, those that it names."""
    kinds = plan.select(*(F.col(name).isNotNull().alias(name) for name in SELECTORS)).distinct()
    return sorted(tuple(name for name in SELECTORS if row[name]) for row in rows(kinds))


def _says(chosen: Sequence[str]) -> Column:
    return reduce(Column.__and__, (F.col(name).isNotNull() == F.lit(name in chosen) for name in SELECTORS))


def _joined(series: DataFrame, spans: DataFrame, chosen: Sequence[str]) -> DataFrame:
    spans = F.broadcast(spans.drop(*(name for name in SELECTORS if name not in chosen)))
    return series.join(spans, on=list(chosen)) if chosen else series.crossJoin(spans)


def _refuse_unmatched(plan: DataFrame, matched: DataFrame, name: str) -> None:
    found = matched.select(F.col("change.line").alias("line")).distinct()
    lost = plan.join(found, on="line", how="left_anti").orderBy("line").select("line", *SELECTORS).limit(5)
    if missing := rows(lost):
        told = "; ".join(
            f"line {row['line']}: " + ", ".join(f"{column} {row[column]}" for column in SELECTORS if row[column])
            for row in missing
        )
        raise SourceError(f"Plan {name}: expected series that each line holds for, came none for {told}.")
