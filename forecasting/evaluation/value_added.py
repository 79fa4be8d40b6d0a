"""Forecast value added (Gilliland 2010, The Business Forecasting Deal): whether a model is worth its trouble for each series, or a
floor forecasts it better."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy import stats

from forecasting.config import Config
from forecasting.demand.aggregate import SERIES
from forecasting.evaluation.metrics import total_pinball
from forecasting.periods import PATCH

SMALLEST_TOLD = 0.0001  # p-value below which it is not told how small it is
FEWEST = 3  # blocks of periods from which a difference can be told from chance


def value_added(forecasts: DataFrame, model: str, floor: str, config: Config) -> DataFrame:
    """The model against the floor, series by series, by pinball loss (what WQL adds up).

    Neighbouring days have like errors, and so have forecasts of the same days from several origins, so blocks of a week of the
    calendar (`periods.PATCH`) are compared and not days: a paired t-test over the blocks that the origins forecast.

    Args:
        forecasts: `backtest_forecasts` of one or more origins with rows of both.

    Returns:
        `item_id`, `location_id`, `model`, `floor`; `periods` compared; `model_loss`, `floor_loss`: mean a period, units;
        `p_value`: probability of the floor being better by so much by chance alone, null with fewer than FEWEST blocks.
    """
    both = forecasts.where(F.col("model").isin(model, floor)).withColumn("loss", total_pinball(config.forecast))
    first = both.agg(F.min("forecast_origin").alias("first"))
    since = {
        "day": F.date_diff("target_date", "first"),
        "week": F.date_diff("target_date", "first") / 7,
        "month": F.round(F.months_between("target_date", "first")),
    }[config.series.grain]
    block = F.ceil(since / PATCH[config.series.grain])
    blocks = (
        both.crossJoin(F.broadcast(first))
        .groupBy(*SERIES, block.alias("block"))
        .agg(
            _of(model).alias("model_loss"),
            _of(floor).alias("floor_loss"),
            F.count_if(F.col("model") == model).alias("periods"),
        )
    )
    worse = (F.col("model_loss") - F.col("floor_loss")) / F.col("periods")
    series = blocks.groupBy(*SERIES).agg(
        F.sum("periods").cast("int").alias("periods"),
        *((F.sum(name) / F.sum("periods")).alias(name) for name in ("model_loss", "floor_loss")),
        F.avg(worse).alias("worse"),
        F.stddev_samp(worse).alias("deviation"),
        F.count(worse).alias("blocks"),
    )
    return series.select(
        *SERIES,
        F.lit(model).alias("model"),
        F.lit(floor).alias("floor"),
        "periods",
        "model_loss",
        "floor_loss",
        _by_chance("worse", "deviation", "blocks").alias("p_value"),
    )


def falls_back(significance: float) -> Column:
    """Whether rows of `value_added` say that the floor is to forecast a series."""
    return F.col("p_value") < significance


def reason() -> Column:
    """In words, why a floor forecasts a series, out of rows of `value_added`."""
    less = F.when(F.col("model_loss") > 0, 100 * (1 - F.col("floor_loss") / F.col("model_loss")))
    chance = F.when(F.col("p_value") < SMALLEST_TOLD, f"below {SMALLEST_TOLD}").otherwise(
        F.format_string("%.4f", F.col("p_value"))
    )
    text = "over %d held-out periods its loss was %.0f %% below that of %s (p %s)"
    return F.format_string(text, F.col("periods"), less, F.col("model"), chance)


def _of(model: str) -> Column:
    return F.sum(F.when(F.col("model") == model, F.col("loss")))


def _by_chance(worse: str, deviation: str, count: str) -> Column:
    """One-sided p-value of a mean above 0, of its mean, standard deviation and number of values."""
    return F.pandas_udf(_student, "double")(worse, deviation, count)


def _student(batches: Iterator[tuple[pd.Series, pd.Series, pd.Series]]) -> Iterator[pd.Series]:
    for worse, deviation, count in batches:
        with np.errstate(divide="ignore", invalid="ignore"):
            score = worse * np.sqrt(count) / deviation
        p_value = pd.Series(stats.t(np.maximum(count - 1, 1)).sf(score), index=worse.index)
        p_value[deviation == 0] = np.where(worse[deviation == 0] > 0, 0.0, 1.0)
        yield p_value.where(count >= FEWEST)
