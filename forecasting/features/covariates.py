"""Weather, signals and local events: what was observed, and what was forecast of it and when.

A forecast made at an origin may use the value of a day behind it only as it was forecast by then. So both are kept: the
observed values, and every forecast with its day of issue; `models.shared.Signals` puts them together as of an origin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.contracts import COVARIATES
from forecasting.demand.aggregate import WHOLE_CHAIN, at_location_level, period_start
from forecasting.demand.imputation import fill
from forecasting.features.ragged import Ragged, lists
from forecasting.features.sequences import Axis
from forecasting.periods import SEASON, position

KEY = ("signal", "item_id", "location_id")
EVERY = ""  # item_id of a covariate that all items share
LONG_KNOWN = "1900-01-01"  # day of issue of what was always known
_MEASURED = (*KEY, "date", "value", "issued_on")


def measured(
    weather: DataFrame, signals: DataFrame, calendar: DataFrame, locations: DataFrame, level: str
) -> DataFrame:
    """Weather, signals and events of single locations in one shape, at the level of series.

    A value that names a group holds for all its locations; one without a location for all. An event is 1 on its day, and
    was always known.

    Returns:
        `signal`, `item_id`, `location_id`, `date`, `value`, `issued_on`; the mean over the locations of a series.
    """
    every = F.lit(EVERY)
    local = calendar.where(F.col("location_id").isNotNull())
    events = local.select(
        F.concat(F.lit("event "), "event").alias("signal"),
        every.alias("item_id"),
        "location_id",
        "date",
        F.lit(1.0).alias("value"),
        F.lit(LONG_KNOWN).cast("date").alias("issued_on"),
    )
    weather = weather.withColumn("item_id", every).select(*_MEASURED)
    signals = signals.withColumn("item_id", F.coalesce("item_id", every)).select(*_MEASURED)
    placed = _at_places(weather.unionByName(signals).unionByName(events), locations, level)
    return placed.groupBy(*KEY, "date", "issued_on").agg(_mean("value").alias("value"))


def _at_places(rows: DataFrame, locations: DataFrame, level: str) -> DataFrame:
    if level == "chain":
        return rows.withColumn("location_id", F.lit(WHOLE_CHAIN))
    groups = locations.where(F.col("location_group").isNotNull())
    members = groups.select(F.col("location_group").alias("_group"), F.col("location_id").alias("_member"))
    named = rows.join(F.broadcast(members), on=F.col("location_id") == F.col("_group"), how="left")
    placed = named.withColumn("location_id", F.coalesce("_member", "location_id", F.lit(WHOLE_CHAIN)))
    return at_location_level(placed.select(*rows.columns), locations, level)


def build_covariates(rows: DataFrame, axis: Axis, missing: Mapping[str, str]) -> DataFrame:
    """One row per signal, item and location, for any number of them.

    Args:
        rows: as `measured` gives them.
        missing: method of `imputation.fill` for observed values that did not come, by signal; `default` for the others. None
            that looks ahead, since a forecast from an earlier origin reads the same values.

    Returns:
        Columns of `covariates` but lineage. A period's observed value is the mean of its days.
    """
    period = period_start(axis.grain, "date")
    observed = F.col("issued_on").isNull() & (period <= F.lit(axis.last))
    values = rows.where(observed).groupBy(*KEY, period.alias("period_start")).agg(_mean("value").alias("value"))
    seen = values.groupBy(*KEY).agg(_sorted("period_start", "value").alias("seen"))
    issued = rows.where(F.col("issued_on").isNotNull())
    per_period = issued.groupBy(*KEY, period.alias("period_start"), "issued_on").agg(_mean("value").alias("value"))
    told = per_period.groupBy(*KEY).agg(_sorted("issued_on", "period_start", "value").alias("forecasts"))
    both = seen.join(told, on=list(KEY), how="full")
    return both.mapInArrow(_filling(axis, dict(missing)), _SCHEMA)


def _mean(name: str) -> Column:
    """The same in any order of rows, since they are added up by size; signals may be too large to be summed as integers."""
    total = F.aggregate(F.array_sort(F.collect_list(name)), F.lit(0.0), lambda sum_, each: sum_ + each)
    return total / F.nullif(F.count(name), F.lit(0))


def _sorted(*names: str) -> Column:
    return F.array_sort(F.collect_list(F.struct(*names)))


_SCHEMA = ", ".join(f"{c.name} {c.type}" for c in COVARIATES.columns if c.name not in ("data_version", "run_id"))


def _filling(axis: Axis, missing: Mapping[str, str]):
    """A function for mapInArrow: lists of observed values to arrays of periods, gaps filled."""

    def fill_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield _filled(batch, axis, missing)

    return fill_batches


def _filled(batch: pa.RecordBatch, axis: Axis, missing: Mapping[str, str]) -> pa.RecordBatch:
    seen = batch["seen"]
    flat, counts = seen.flatten(), np.asarray(seen.value_lengths().fill_null(0))
    number = position(flat.field("period_start").to_numpy(zero_copy_only=False), axis.grain)
    first = np.full(len(counts), axis.end + 1)
    np.minimum.at(first, np.repeat(np.arange(len(counts)), counts), number)
    lengths = axis.end - first + 1
    places = Ragged.of(seen, lengths)
    values = np.full(int(lengths.sum()), np.nan, np.float32)
    values = places.scatter(number - first[places.owner], flat.field("value").to_numpy(zero_copy_only=False), values)
    for series, signal in enumerate(batch["signal"].to_pylist()):
        inside = slice(places.start[series], places.start[series] + lengths[series])
        own = values[None, inside]
        method = missing.get(signal, missing["default"])
        values[inside] = fill(own, np.isnan(own), method, SEASON[axis.grain])[0]
    return pa.RecordBatch.from_pydict(
        {
            **{name: batch[name] for name in KEY},
            "first_period": pa.array(_first_days(first, axis), pa.date32()),
            "observed": lists(values, lengths),
            "forecasts": batch["forecasts"],
        }
    )


def _first_days(number: np.ndarray, axis: Axis) -> np.ndarray:
    """First day of each period, by its number."""
    if axis.grain != "month":
        return np.datetime64(axis.last, "D") - (7 if axis.grain == "week" else 1) * (axis.end - number)
    return number.astype("datetime64[M]").astype("datetime64[D]")
