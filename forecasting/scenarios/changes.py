"""A plan laid on the series: the same sequences with other prices and promotions ahead, and the same calendar with further events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
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
from forecasting.periods import ALWAYS, periods_between, position
from forecasting.scenarios.plan import CHANGES, NO_PROMOTION, SELECTORS, STRENGTHS, TYPES, Ahead

KNOWN = ALWAYS - 1  # periods ahead by which what a plan says had been announced: before any origin
_SPAN = ("starts_on", "ends_on")
_OF_A_LINE = tuple(column for column in TYPES if column not in (*SELECTORS, *_SPAN))


def touched(sequences: DataFrame, plan: DataFrame, name: str, ahead: Ahead) -> DataFrame:
    """The series that a plan changes.

    Args:
        sequences: gold `sequences`. plan: as `plan.checked` gives it.

    Returns:
        The columns of sequences, and `planned`: for each period ahead a struct of the line that counts for each of CHANGES, null where none
        does. A line has `begin` and `end`, its first and last period, counted from the origin.

    Raises:
        SourceError: a line that holds for no series.
    """
    begin, end = (F.expr(periods_between(f"DATE'{ahead.origin}'", name, ahead.grain)) for name in _SPAN)
    spans = plan.withColumns({"begin": begin, "end": end})
    line = F.struct("line", "begin", "end", *_OF_A_LINE).alias("change")
    matches = [
        _joined(sequences.select(*SELECTORS), spans.where(_says(chosen)), chosen).select(*SERIES, line)
        for chosen in _selections(plan)
    ]
    matched = reduce(DataFrame.unionByName, matches)
    _refuse_unmatched(plan, matched, name)
    of_series = matched.groupBy(*SERIES).agg(F.sort_array(F.collect_list("change")).alias("lines"))
    counting = F.transform(
        F.sequence(F.lit(1), F.lit(ahead.horizon)),
        lambda at: F.struct(*(_last_line(at, of).alias(what) for what, of in CHANGES.items())),
    )
    return sequences.join(of_series.select(*SERIES, counting.alias("planned")), on=list(SERIES))


def comparable(series: DataFrame, horizon: int) -> DataFrame:
    """The series as both forecasts know them, so that these differ in the plan alone: where a plan changes a price, with a price for every
    period ahead, which is that of the price list, or else the last one; where it changes promotions, with those that are planned
    anyway as if they had been announced.

    Args:
        series: as `touched` gives them.
    """
    last = last_price()
    prices = {
        "planned_price": _ahead("planned_price", horizon, lambda price, _: F.when(price > 0, price).otherwise(last)),
        "price_announced": _ahead("price_announced", horizon, lambda *_: F.lit(KNOWN), none=ALWAYS, kind="smallint"),
    }
    promotions = {
        "promotion_announced": _ahead(
            "promotion_announced", horizon, lambda *_: F.lit(KNOWN), none=ALWAYS, kind="smallint"
        )
    }
    return _of_those_with(_of_those_with(series, "price", prices), "promotion", promotions)


def last_price() -> Column:
    """Price of a series at the origin: that of the price list, else the last one seen; 0 where none is known."""
    listed = F.get("planned_price", F.col("length") - 1)
    return F.when(listed > 0, listed).otherwise(F.element_at("price", -1))


def with_plan(series: DataFrame, horizon: int) -> DataFrame:
    """The series as the plan has them.

    Args:
        series: as `comparable` gives them.
    """

    def price(line: Column, old: Column, _: Column) -> Column:
        return F.coalesce(line["price"], old * (1 + line["price_change"]))

    def promoted(value: Callable[[Column, Column], Column]) -> Callable[[Column, Column, Column], Column]:
        return lambda line, _, at: F.when(line["promotion"] == NO_PROMOTION, 0.0).otherwise(value(line, at))

    values = {
        "promotion": promoted(lambda *_: F.lit(1.0)),
        "promotion_periods_left": promoted(lambda line, at: line["end"] - at + 1),
        **{name: promoted(lambda line, _, name=name: F.coalesce(line[name], F.lit(0.0))) for name in STRENGTHS},
    }
    promotions = {name: _otherwise(name, horizon, "promotion", value) for name, value in values.items()}
    promotions["promotion_kinds"] = _kinds(horizon)
    prices = {"planned_price": _otherwise("planned_price", horizon, "price", price)}
    return _of_those_with(_of_those_with(series, "price", prices), "promotion", promotions)


def _of_those_with(series: DataFrame, what: str, values: Mapping[str, Column]) -> DataFrame:
    """New values of columns for the series of which some line changes this; the others keep theirs."""
    some = F.exists("planned", lambda at: at[what].isNotNull())
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
    events = plan.where(F.col("event").isNotNull()).select("event", *_SPAN).orderBy("line")
    for row in rows(events):
        first, last = max(row["starts_on"], ahead.first), min(row["ends_on"], ahead.end - timedelta(1))
        calendar = with_event(calendar, row["event"], first, last, ahead.grain)
    return without, replace(shared, calendar=calendar)


def with_event(calendar: pd.DataFrame, event: str, first: date, last: date, grain: str) -> pd.DataFrame:
    """Rows of `calendar_features` with one more event from its first to its last day, in every calendar."""
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    starts = calendar["period_start"].to_numpy("datetime64[D]")
    counted = (position(starts, grain)[:, None] == position(days, grain)).sum(axis=1)
    inside = counted > 0
    to, since = (np.minimum(_days_between(starts, days, sign), FAR) for sign in (1, -1))
    retail = any(event in (names or "").split("; ") for names in calendar["events"])
    column = "events" if retail else "holiday_names"

    def name(old: str | None, here: bool) -> str | None:
        return (f"{old}; {event}" if old else event) if here else old

    def nearer(rows: Iterable, distance: np.ndarray) -> list[dict[str, int]]:
        told = zip(map(dict, rows), distance.tolist(), strict=True)
        return [row | {event: min(row[event], days)} if event in row else row for row, days in told]

    told = {
        column: [name(old, here) for old, here in zip(calendar[column], inside, strict=True)],
        "days_to": nearer(calendar["days_to"], np.where(inside, 0, to)),
        "days_since": nearer(calendar["days_since"], np.where(inside, 0, since)),
    }
    if not retail:  # as `features.calendar` tells holidays: their distance is that of a period's first day
        told |= {
            # A day is a holiday once, whatever falls on it.
            "holidays": np.maximum(calendar["holidays"], counted) if grain == "day" else calendar["holidays"] + counted,
            "days_to_holiday": np.minimum(calendar["days_to_holiday"], to),
            "days_since_holiday": np.minimum(calendar["days_since_holiday"], since),
        }
    return calendar.assign(**told)


def _days_between(starts: np.ndarray, days: np.ndarray, sign: int) -> np.ndarray:
    """Days from each start to the nearest of the days that lies ahead of it (sign 1) or behind it (-1)."""
    apart = sign * (days[None] - starts[:, None]).astype(np.int64)
    return np.where(apart >= 0, apart, FAR).min(axis=1)


def _last_line(at: Column, of: Sequence[str]) -> Column:
    """Of `lines` the last one that holds in period `at` and gives one of these columns; null if none does."""

    def counts(line: Column) -> Column:
        return (
            (line["begin"] <= at)
            & (at <= line["end"])
            & F.coalesce(*(line[name].cast("string") for name in of)).isNotNull()
        )

    return F.try_element_at(F.filter("lines", counts), F.lit(-1))


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
    array: str | Column, horizon: int, what: str, value: Callable[[Column, Column, Column], Column]
) -> Column:
    """The same with `value(line, old, period)` where a line changes this."""

    def of_period(old: Column, at: Column) -> Column:
        line = F.element_at("planned", at)[what]
        return F.when(line.isNull(), old).otherwise(value(line, old, at))

    return _ahead(array, horizon, of_period)


def _kinds(horizon: int) -> Column:
    """`promotion_kinds` as the plan has them: of each kind that the series or the plan names, its array."""
    named = F.transform("planned", lambda at: at["promotion"]["promotion"])
    named = F.filter(named, lambda kind: kind.isNotNull() & (kind != NO_PROMOTION))
    kinds = F.array_union(F.map_keys("promotion_kinds"), named)

    def of_kind(kind: Column) -> Column:
        def share(line: Column, *_: Column) -> Column:
            return F.when(line["promotion"] == kind, 1.0).otherwise(0.0)

        return _otherwise(F.try_element_at("promotion_kinds", kind), horizon, "promotion", share)

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
