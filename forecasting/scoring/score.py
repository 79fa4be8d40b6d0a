"""Scoring in Spark: an Arrow UDF over all series, the model loaded once per Python worker."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.baselines.floors import FLOORS, Forecast
from forecasting.config import Config
from forecasting.evaluation.backtest import split
from forecasting.features.ragged import row_lists
from forecasting.models.artifact import unpack
from forecasting.models.batches import sequence_columns
from forecasting.models.build import see_own_gpu, use_gpu, use_threads
from forecasting.models.shared import SharedRows
from forecasting.models.spec import ModelSpec
from forecasting.periods import SEASON, periods_between, position, starts
from forecasting.scoring.predict import Predictor

#: First day of the period `_before` periods after a series' first one, in SQL.
_LATER = {
    "day": "date_add(first_period, _before)",
    "week": "date_add(first_period, 7 * _before)",
    "month": "add_months(first_period, _before)",
}
_LOADED: dict[str, Predictor] = {}  # of this Python worker: the last model used, whichever task comes next


def forecast(sequences: DataFrame, shared: SharedRows, artifact: bytes, config: Config, origin: date) -> DataFrame:
    """One row per series and period ahead.

    Args:
        sequences: gold `sequences`; demand behind `origin` is not looked at.
        shared: rows of the tables that series share.
        artifact: bytes of a model, see `forecasting.models.artifact`; Spark hands them to the workers.
        origin: last known period.

    Returns:
        item_id, location_id, forecast_origin, target_date, horizon, mean, one column per quantile level, and `answered`: false for a
        series for which the network gave no number, and a floor stands in.
    """
    quantiles = config.forecast.quantile_columns
    targets = starts(origin, config.forecast.horizon + 1, config.series.grain)[1:]
    spec = unpack(artifact)[0]
    read = sequence_columns(spec.inputs)
    predict = forecast_udf(artifact, shared, origin, config, read)
    scored = spread(within_reach(sequences.select(*read), spec, origin)).select(
        "item_id", "location_id", predict(*read).alias("forecast")
    )
    columns = ("mean", *quantiles)
    rows = scored.select(
        "item_id",
        "location_id",
        "forecast.answered",
        F.posexplode(F.arrays_zip(*(f"forecast.{c}" for c in columns))).alias("ahead", "day"),
    )
    return rows.select(
        "item_id",
        "location_id",
        F.lit(origin).alias("forecast_origin"),
        F.lit(targets)[F.col("ahead")].alias("target_date"),
        (F.col("ahead") + 1).alias("horizon"),
        *(F.col(f"day.{column}").cast("double").alias(column) for column in columns),
        "answered",
    )


def forecast_udf(artifact: bytes, shared: SharedRows, origin: date, config: Config, read: tuple[str, ...] | None):
    """The UDF, from Arrow to Arrow: columns of `sequences` in, a struct of arrays over the horizon out (mean, then each quantile), and
    `answered`.

    Args:
        read: columns that it is given, in this order; None: one struct of columns with these names.
    """
    names = ("mean", *config.forecast.quantile_columns)
    batch_size, last = config.scoring.batch_size, int(position(origin, config.series.grain))
    key = hashlib.sha256(artifact + pickle.dumps((shared, last, batch_size))).hexdigest()

    def answers(batch: pa.RecordBatch) -> pa.Array:
        mean, quantiles = _loaded(key, artifact, shared, last, batch_size).predict(batch)
        answered = np.isfinite(mean).all(axis=1) & np.isfinite(quantiles).all(axis=(1, 2))
        if not answered.all():
            stand_in = floor_of(batch.take(pa.array(np.flatnonzero(~answered))), origin, config)
            mean[~answered], quantiles[~answered] = stand_in
        values = [mean, *(quantiles[..., level] for level in range(quantiles.shape[-1]))]
        return pa.StructArray.from_arrays(
            [*(row_lists(each) for each in values), pa.array(answered)], [*names, "answered"]
        )

    def of_columns(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        return (answers(pa.RecordBatch.from_arrays(list(columns), list(read))) for columns in batches)

    def of_structs(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        return (answers(pa.RecordBatch.from_struct_array(structs)) for structs in batches)

    function = of_columns if read else of_structs
    return F.arrow_udf(function, f"struct<{', '.join(f'{name}: array<float>' for name in names)}, answered: boolean>")


def floor_of(batch: pa.RecordBatch, origin: date, config: Config) -> Forecast:
    """Forecasts of the floor that stands in where the network gives no number, by the periods that it reads; demand that is none is
    taken as not seen."""
    history, _ = split(batch, config.series.grain, origin, config.forecast.horizon)
    history[~np.isfinite(history)] = np.nan
    floor, season = FLOORS[config.scoring.stand_in], SEASON[config.series.grain]
    return floor(history, season, config.forecast.horizon, config.forecast.quantiles)


def within_reach(sequences: DataFrame, spec: ModelSpec, origin: date) -> DataFrame:
    """`sequences` without the periods that the network does not read: most of a long history need not be moved."""
    since = F.expr(periods_between("first_period", f"DATE'{origin}'", spec.grain))
    # Periods before the context, and those that begin with it: what lies behind the horizon is not read either.
    cut = sequences.withColumn("_before", F.greatest(F.lit(0), since - F.lit(spec.context - 1)))
    begin, most = F.col("_before") + 1, F.lit(spec.context + spec.horizon)
    columns = {name: F.slice(name, begin, most) for name, kind in sequences.dtypes if kind.startswith("array")}
    columns |= {
        name: F.transform_values(name, lambda _, values: F.slice(values, begin, most))
        for name, kind in sequences.dtypes
        if kind.startswith("map")
    }
    return cut.withColumns(columns | {"first_period": F.expr(_LATER[spec.grain])}).drop("_before")


def spread(sequences: DataFrame) -> DataFrame:
    """`sequences` in several partitions for every task that can run at once, so that no core is idle for long at the end,
    and tasks that finish show how far it got."""
    slots = sequences.sparkSession.sparkContext.defaultParallelism
    if sequences.rdd.getNumPartitions() >= 8 * slots:
        return sequences
    return sequences.repartition(8 * slots, "item_id", "location_id")


def _loaded(key: str, artifact: bytes, shared: SharedRows, origin: int, batch_size: int) -> Predictor:
    """The predictor of this process, made at the first call and kept for the tasks that follow."""
    if key not in _LOADED:
        if context := TaskContext.get():  # on a GPU of its own, or on one of those there are, beside other workers
            see_own_gpu(context.resources())
        use_threads(1)
        use_gpu(context.partitionId() if context else 0)
        _LOADED.clear()
        _LOADED[key] = Predictor(artifact, shared, origin, batch_size)
    return _LOADED[key]
