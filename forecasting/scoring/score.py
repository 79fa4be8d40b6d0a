"""Scoring in Spark: a pandas UDF over all series, the model loaded once per Python worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.models.batches import SEQUENCE_COLUMNS, CalendarAxis
from forecasting.periods import position, starts
from forecasting.scoring.predict import Predictor

_LOADED: dict[tuple, Predictor] = {}  # of this Python worker: the last model used, whichever task comes next


def forecast(sequences: DataFrame, calendar: pd.DataFrame, artifact: bytes, config: Config, origin: date) -> DataFrame:
    """One row per series and period ahead.

    Args:
        sequences: gold `sequences`; demand behind `origin` is not looked at.
        calendar: rows of `calendar_features`.
        artifact: bytes of a model, see `forecasting.models.artifact`; Spark hands them to the workers.
        origin: last known period.

    Returns:
        item_id, location_id, forecast_origin, target_date, horizon, mean, and one column per quantile level.
    """
    quantiles = config.forecast.quantile_columns
    targets = starts(origin, config.forecast.horizon + 1, config.series.grain)[1:]
    predict = forecast_udf(artifact, CalendarAxis.of(calendar, config.series.grain), origin, config)
    scored = spread(sequences).select("item_id", "location_id", predict(*SEQUENCE_COLUMNS).alias("forecast"))
    columns = ("mean", *quantiles)
    rows = scored.select(
        "item_id", "location_id", F.posexplode(F.arrays_zip(*(f"forecast.{c}" for c in columns))).alias("ahead", "day")
    )
    return rows.select(
        "item_id",
        "location_id",
        F.lit(origin).alias("forecast_origin"),
        F.lit(targets)[F.col("ahead")].alias("target_date"),
        (F.col("ahead") + 1).alias("horizon"),
        *(F.col(f"day.{column}").cast("double").alias(column) for column in columns),
    )


def forecast_udf(artifact: bytes, calendar: CalendarAxis, origin: date, config: Config):
    """The pandas UDF: columns of `sequences` in, a struct of arrays over the horizon out (mean, then each quantile)."""
    names = ("mean", *config.forecast.quantile_columns)
    batch_size, grain = config.scoring.batch_size, config.series.grain

    def predict(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.DataFrame]:
        predictor = _loaded(artifact, calendar, int(position(origin, grain)), batch_size)
        for columns in batches:
            rows = pa.RecordBatch.from_pandas(
                pd.DataFrame(dict(zip(SEQUENCE_COLUMNS, columns, strict=True))), preserve_index=False
            )
            mean, quantiles = predictor.predict(rows)
            arrays = [mean, *(quantiles[..., level] for level in range(quantiles.shape[-1]))]
            yield pd.DataFrame({name: list(values) for name, values in zip(names, arrays, strict=True)})

    return F.pandas_udf(predict, ", ".join(f"{name} array<float>" for name in names))


def spread(sequences: DataFrame) -> DataFrame:
    """`sequences` in several partitions for every task that can run at once, so that no core is idle for long at the end,
    and tasks that finish show how far it got."""
    slots = sequences.sparkSession.sparkContext.defaultParallelism
    if sequences.rdd.getNumPartitions() >= 2 * slots:
        return sequences
    return sequences.repartition(4 * slots, "item_id", "location_id")


def _loaded(artifact: bytes, calendar: CalendarAxis, origin: int, batch_size: int) -> Predictor:
    """The predictor of this process, made at the first call and kept for the tasks that follow."""
    from forecasting.models.build import use_threads

    key = (hashlib.sha256(artifact).digest(), hashlib.sha256(calendar.values.tobytes()).digest(), origin, batch_size)
    if key not in _LOADED:
        use_threads(1)
        _LOADED.clear()
        _LOADED[key] = Predictor(artifact, calendar, origin, batch_size)
    return _LOADED[key]
