"""Forecasts of held-out periods beside what came.

The actual values travel with each series as an array, so that only a model's forecasts are joined, and only once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.demand.aggregate import SERIES
from forecasting.demand.classes import demand_classes
from forecasting.evaluation.floors import FLOORS, row_mean, seasonal_scale, squared_scale
from forecasting.periods import SEASON, position, shift

Batches = Iterator[pa.RecordBatch]
_HISTORY = (*SERIES, "first_period", "quantity")
NEW = 8  # seasons of history below which a series is new
VOLUME_EDGES = (0.1, 1.0, 10.0)  # units a period, on average up to the origin
VOLUMES = ("under 0.1", "0.1 to 1", "1 to 10", "10 and more")


def compare(sequences: DataFrame, forecasts: dict[str, DataFrame], config: Config, origin: date) -> DataFrame:
    """Every model's forecasts of the periods after `origin`, beside what came.

    All models answer for the same rows: each period that a series lives in, from its first one. A series that a model
    does not forecast counts as a forecast of 0, which is also what floors say of a series that begins after the origin.

    Args:
        sequences: gold `sequences`.
        forecasts: for each model of `backtest.models` that is no floor, its forecasts as of `origin`: `item_id`,
            `location_id`, `horizon`, `mean` and the quantile columns.

    Returns:
        Columns of `backtest_forecasts` but lineage.
    """
    names = config.backtest.models
    answers = [beside_actuals(sequences, forecasts[name], name, config, origin) for name in names if name not in FLOORS]
    floors = [name for name in names if name in FLOORS]
    if floors:
        answers.append(floor_forecasts(sequences, floors, config, origin))
    rows = answers[0]
    for more in answers[1:]:
        rows = rows.unionByName(more)
    targets = [shift(origin, ahead, config.series.grain) for ahead in range(1, config.forecast.horizon + 1)]
    columns = ("model", *SERIES, "forecast_origin", "target_date", "horizon", "actual", "mean")
    return rows.withColumns(
        {"forecast_origin": F.lit(origin), "target_date": F.element_at(F.lit(targets), F.col("horizon"))}
    ).select(*columns, *config.forecast.quantile_columns)


def floor_forecasts(sequences: DataFrame, floors: Sequence[str], config: Config, origin: date) -> DataFrame:
    """Forecasts of floors, one row per floor, series and period that came.

    Returns:
        `item_id`, `location_id`, `model`, `horizon`, `actual`, `mean` and the quantile columns.
    """
    quantiles = config.forecast.quantile_columns
    schema = "item_id string, location_id string, model string, horizon int, actual double, mean double"
    schema += "".join(f", {name} double" for name in quantiles)
    return sequences.select(*_HISTORY).mapInArrow(_floor_rows(tuple(floors), config, origin), schema)


def beside_actuals(sequences: DataFrame, forecasts: DataFrame, model: str, config: Config, origin: date) -> DataFrame:
    """A model's forecasts with what came: the columns of `floor_forecasts`."""
    values = ("mean", *config.forecast.quantile_columns)
    came = actuals_after(sequences, config, origin)
    joined = came.join(forecasts.select(*SERIES, "horizon", *values), on=list(SERIES), how="left")
    every_period = F.sequence(F.lit(1), F.lit(config.forecast.horizon))
    periods = F.when(F.col("horizon").isNull(), every_period).otherwise(F.array("horizon"))
    return (
        joined.withColumn("horizon", F.explode(periods))
        .select(
            *SERIES,
            F.lit(model).alias("model"),
            "horizon",
            F.element_at("actuals", F.col("horizon")).alias("actual"),
            *(F.coalesce(name, F.lit(0.0)).alias(name) for name in values),
        )
        .where(F.col("actual").isNotNull())
    )


def actuals_after(sequences: DataFrame, config: Config, origin: date) -> DataFrame:
    """`item_id`, `location_id`, `actuals`: the H values that came after the origin, null where the series has no such period."""
    grain, horizon = config.series.grain, config.forecast.horizon

    def actual_rows(batches: Batches) -> Batches:
        for batch in batches:
            _, actuals = split(batch, grain, origin, horizon)
            columns = {name: batch[name] for name in SERIES} | {
                "actuals": _lists(pa.array(actuals.ravel(), from_pandas=True), horizon)
            }
            yield pa.RecordBatch.from_pydict(columns)

    schema = "item_id string, location_id string, actuals array<double>"
    return sequences.select(*_HISTORY).mapInArrow(actual_rows, schema)


def series_as_of(sequences: DataFrame, config: Config, origin: date) -> DataFrame:
    """What metrics have to know of each series as of the origin, one row per series.

    Returns:
        `item_id`, `location_id`, `forecast_origin`; `scale`, `squared_scale`: see `floors.seasonal_scale` and
        `floors.squared_scale`; segments: `demand_class`, `category`, `volume`, `history`; `promoted`: of the H periods ahead
        "promoted" or "not promoted", null for a series that never is.
    """
    grain, horizon = config.series.grain, config.forecast.horizon

    def known_rows(batches: Batches) -> Batches:
        for batch in batches:
            history, _ = split(batch, grain, origin, horizon)
            observed, _ = split(batch, grain, origin, horizon, "observed")
            _, promoted = split(batch, grain, origin, horizon, "promotion")
            known = observed == 1
            words = np.where(np.isnan(promoted), None, np.where(promoted > 0, "promoted", "not promoted"))
            mean = row_mean(np.where(known, history, np.nan))
            begun = (~np.isnan(history)).sum(axis=1)
            yield pa.RecordBatch.from_pydict(
                {
                    **{name: batch[name] for name in SERIES},
                    "forecast_origin": pa.repeat(pa.scalar(origin, pa.date32()), batch.num_rows),
                    "promoted": _lists(pa.array(words.ravel(), pa.string()), horizon),
                    "scale": seasonal_scale(history, SEASON[grain]),
                    "squared_scale": squared_scale(history),
                    "demand_class": demand_classes(np.nan_to_num(history), known),
                    "category": batch["category"],
                    "volume": np.array(VOLUMES)[np.searchsorted(VOLUME_EDGES, mean, side="right")],
                    "history": np.where(begun < NEW * SEASON[grain], "new", "longer"),
                }
            )

    schema = "item_id string, location_id string, forecast_origin date, promoted array<string>, scale double"
    schema += ", squared_scale double, demand_class string, category string, volume string, history string"
    return sequences.select(*_HISTORY, "observed", "promotion", "category").mapInArrow(known_rows, schema)


def _lists(values: pa.Array, length: int) -> pa.ListArray:
    """Lists of one length each out of all their values behind one another."""
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, length), pa.int32()), values)


def _floor_rows(floors: tuple[str, ...], config: Config, origin: date) -> Callable[[Batches], Batches]:
    grain, horizon, levels = config.series.grain, config.forecast.horizon, config.forecast.quantiles
    quantile_columns = config.forecast.quantile_columns

    def floor_rows(batches: Batches) -> Batches:
        for batch in batches:
            history, actuals = split(batch, grain, origin, horizon)
            series, ahead = np.nonzero(~np.isnan(actuals))
            taken = pa.array(series)
            shared = {name: batch[name].take(taken) for name in SERIES}
            came = {"horizon": (ahead + 1).astype(np.int32), "actual": actuals[series, ahead]}
            for floor in floors:
                mean, quantiles = FLOORS[floor](history, SEASON[grain], horizon, levels)
                by_level = quantiles[series, ahead].T  # [K, rows]
                yield pa.RecordBatch.from_pydict(
                    {
                        **shared,
                        "model": pa.repeat(floor, len(series)),
                        **came,
                        "mean": mean[series, ahead],
                        **dict(zip(quantile_columns, by_level, strict=True)),
                    }
                )

    return floor_rows


def split(
    batch: pa.RecordBatch, grain: str, origin: date, horizon: int, column: str = "quantity"
) -> tuple[np.ndarray, np.ndarray]:
    """Each series' values up to the origin, and in the `horizon` periods after it.

    Args:
        batch: `first_period` and `column` of n series, an array over periods or null.

    Returns:
        history [n, periods] aligned on the right, NaN before the first period; what came [n, H], NaN where the series has
        no such period. Both float64.
    """
    first = position(batch["first_period"].to_numpy(zero_copy_only=False), grain)
    length = batch[column].value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = batch[column].flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    start = np.cumsum(length) - length
    # Periods up to the origin; for a series that begins after it, less those from the origin to its first.
    known = position(np.datetime64(origin), grain) + 1 - first
    width = max(0, int(known.max(initial=0)))

    def at(index: np.ndarray) -> np.ndarray:
        lives = (index >= 0) & (index < length[:, None])
        picked = np.full(index.shape, np.nan)
        picked[lives] = values[(index + start[:, None])[lives]]
        return picked

    history = at(known[:, None] + np.arange(-width, 0))
    return history, at(known[:, None] + np.arange(horizon))
