"""Forecasts of held-out periods beside what came.

The actual values travel with each series as an array, so that only a model's forecasts are joined, and only once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.baselines.floors import FLOORS, Forecast, row_mean, seasonal_scale, squared_scale
from forecasting.baselines.local import LocalModels, SeriesModels
from forecasting.config import Config
from forecasting.demand.aggregate import SERIES
from forecasting.demand.classes import demand_classes
from forecasting.periods import SEASON, position, shift

Batches = Iterator[pa.RecordBatch]
Forecaster = Callable[[pa.RecordBatch, date], dict[str, Forecast]]  # of each model, of the series of a batch
_HISTORY = (*SERIES, "first_period", "quantity", "observed")
NEW = 8  # seasons of history below which a series is new
VOLUME_EDGES = (0.1, 1.0, 10.0)  # units a period, on average up to the origin
VOLUMES = ("under 0.1", "0.1 to 1", "1 to 10", "10 and more")


def compare(
    sequences: DataFrame,
    forecasts: dict[str, DataFrame],
    config: Config,
    origin: date,
    others: Sequence[SeriesModels] = (),
) -> DataFrame:
    """Every model's forecasts of the periods after `origin`, beside what came.

    All models answer for the same rows: each period that a series lives in, from its first one, and whose demand could be seen:
    of a closed place or of records that did not come nobody knows what would have sold. A series that a model does not
    forecast counts as a forecast of 0, which is also what floors say of a series that begins after the origin.

    Args:
        sequences: gold `sequences`.
        forecasts: for each network of `backtest.models` its forecasts as of `origin`: `item_id`, `location_id`, `horizon`, `mean`
            and the quantile columns.
        others: the models of `backtest.models` that are neither networks nor floors.

    Returns:
        Columns of `backtest_forecasts` but lineage.
    """
    names = config.backtest.models
    answers = [beside_actuals(sequences, forecasts[name], name, config, origin) for name in names if name in forecasts]
    floors = [name for name in names if name in FLOORS]
    if floors:
        answers.append(
            forecasts_of_each_series(sequences.select(*_HISTORY), _floor_forecasts(floors, config), config, origin)
        )
    answers += [forecasts_of_each_series(sequences.select(*m.columns), m.forecasts, config, origin) for m in others]
    rows = answers[0]
    for more in answers[1:]:
        rows = rows.unionByName(more)
    columns = ("model", *SERIES, "forecast_origin", "target_date", "horizon", "actual", "mean")
    return rows.withColumns(periods_from(origin, config)).select(*columns, *config.forecast.quantile_columns)


def periods_from(origin: date, config: Config) -> dict[str, Column]:
    """The columns `forecast_origin` and `target_date` of rows with a `horizon`."""
    targets = [shift(origin, ahead, config.series.grain) for ahead in range(1, config.forecast.horizon + 1)]
    return {"forecast_origin": F.lit(origin), "target_date": F.element_at(F.lit(targets), F.col("horizon"))}


def floor_forecasts(sequences: DataFrame, floors: Sequence[str], config: Config, origin: date) -> DataFrame:
    """Forecasts of floors, one row per floor, series and period ahead.

    Returns:
        `item_id`, `location_id`, `model`, `horizon`, `mean` and the quantile columns.
    """
    history = sequences.select(*_HISTORY)
    return forecasts_of_each_series(history, _floor_forecasts(floors, config), config, origin, only_what_came=False)


def equation_parameters(sequences: DataFrame, models: LocalModels, origin: date) -> DataFrame:
    """What the equations among models fitted to each series: columns of the table of this name but lineage."""

    def fitted(batches: Batches) -> Batches:
        for batch in batches:
            yield from models.parameters(batch, origin)

    schema = "model string, item_id string, location_id string, a double, b double, g double, intercept double"
    schema += ", coefficients map<string,double>, residual_deviation double, periods int"
    found = sequences.select(*models.columns).mapInArrow(fitted, schema)
    return found.withColumn("forecast_origin", F.lit(origin))


def beside_actuals(sequences: DataFrame, forecasts: DataFrame, model: str, config: Config, origin: date) -> DataFrame:
    """A model's forecasts with what came: the columns of `floor_forecasts`, and `actual`."""
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
    """`item_id`, `location_id`, `actuals`: the H values that came after the origin, null where the series has no such
    period or its demand could not be seen."""
    grain, horizon = config.series.grain, config.forecast.horizon

    def actual_rows(batches: Batches) -> Batches:
        for batch in batches:
            actuals = seen_after(batch, grain, origin, horizon)
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
    return sequences.select(*_HISTORY, "promotion", "category").mapInArrow(known_rows, schema)


def _lists(values: pa.Array, length: int) -> pa.ListArray:
    """Lists of one length each out of all their values behind one another."""
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, length), pa.int32()), values)


def _floor_forecasts(floors: Sequence[str], config: Config) -> Forecaster:
    season, horizon, levels = SEASON[config.series.grain], config.forecast.horizon, config.forecast.quantiles

    def forecasts(batch: pa.RecordBatch, origin: date) -> dict[str, Forecast]:
        history, _ = split(batch, config.series.grain, origin, horizon)
        return {floor: FLOORS[floor](history, season, horizon, levels) for floor in floors}

    return forecasts


def forecasts_of_each_series(
    sequences: DataFrame, forecaster: Forecaster, config: Config, origin: date, only_what_came: bool = True
) -> DataFrame:
    """One row per model, series and period ahead: SERIES, `model`, `horizon`, `actual`, `mean` and the quantile columns; only
    periods that came, or all and without `actual`."""
    grain, horizon, quantile_columns = config.series.grain, config.forecast.horizon, config.forecast.quantile_columns

    def forecast_rows(batches: Batches) -> Batches:
        for batch in filter(len, batches):
            actuals = seen_after(batch, grain, origin, horizon)
            series, ahead = np.nonzero(~np.isnan(actuals) | (not only_what_came))
            shared = {name: batch[name].take(pa.array(series)) for name in SERIES}
            came = {"actual": actuals[series, ahead]} if only_what_came else {}
            for model, (mean, quantiles) in forecaster(batch, origin).items():
                by_level = quantiles[series, ahead].T  # [K, rows]
                yield pa.RecordBatch.from_pydict(
                    {
                        **shared,
                        "model": pa.repeat(model, len(series)),
                        "horizon": (ahead + 1).astype(np.int32),
                        **came,
                        "mean": mean[series, ahead],
                        **dict(zip(quantile_columns, by_level, strict=True)),
                    }
                )

    schema = "item_id string, location_id string, model string, horizon int"
    values = (*(("actual",) if only_what_came else ()), "mean", *quantile_columns)
    return sequences.mapInArrow(forecast_rows, schema + "".join(f", {name} double" for name in values))


def seen_after(batch: pa.RecordBatch, grain: str, origin: date, horizon: int) -> np.ndarray:
    """Demand in the H periods after the origin, [n, H]; NaN where a series has no such period or its demand could not be seen."""
    _, actuals = split(batch, grain, origin, horizon)
    _, observed = split(batch, grain, origin, horizon, "observed")
    return np.where(observed == 1, actuals, np.nan)


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
