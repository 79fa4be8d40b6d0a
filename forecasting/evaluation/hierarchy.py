"""Accuracy of totals: WRMSSE over any hierarchy of products and places (Makridakis, Spiliotis & Assimakopoulos 2022, M5)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.baselines.floors import squared_scale
from forecasting.config import Config
from forecasting.demand.aggregate import SERIES
from forecasting.evaluation.backtest import split
from forecasting.evaluation.metrics import ALL
from forecasting.features.ragged import row_lists
from forecasting.hierarchy.nodes import attributes_of, sum_by_node

LEVEL = "level"  # the segment that tells each level of the hierarchy by itself
_HISTORY, _WEIGHT, _MODEL = "history", "weight", "model "  # what is summed over a node: also the errors of each model


def wrmsse(sequences: DataFrame, forecasts: DataFrame, config: Config, origin: date) -> DataFrame:
    """Weighted root mean squared scaled error of the mean forecast, of each level of `backtest.hierarchy` and over all.

    A level is a list of attributes; the series that share them are a node, whose demand and forecasts are summed. The error of a
    node is scaled by the mean squared difference of neighbouring periods of its history, and weighs as much as its sales in money
    over as many periods before the origin as are forecast (in units, where no series has a price). All levels weigh the same.

    Args:
        sequences: gold `sequences`. forecasts: rows of `backtest_forecasts` of one origin.

    Returns:
        Columns of `backtest_metrics` but lineage: `segment` all, and LEVEL with the names of the level's attributes as `part`.
    """
    levels = config.backtest.hierarchy
    attributes = attributes_of(levels)
    errors = _errors(sequences.select(*attributes), forecasts, config.forecast.horizon)
    vectors = _histories(sequences, attributes, config, origin).unionByName(errors)
    nodes = _nodes(sum_by_node(vectors, levels), config.forecast.horizon)
    of_level = nodes.groupBy("model", "level").agg(
        (F.sum(F.col("weight") * F.col("error")) / F.nullif(F.sum("weight"), F.lit(0.0))).alias("value"),
        F.count(F.lit(1)).alias("series"),
    )
    over_all = of_level.groupBy("model").agg(F.avg("value").alias("value"), F.max("series").alias("series"))
    told = of_level.select("model", F.lit(LEVEL).alias("segment"), F.col("level").alias("part"), "value", "series")
    told = told.unionByName(
        over_all.select("model", F.lit(ALL).alias("segment"), F.lit(ALL).alias("part"), "value", "series")
    )
    columns = ("model", "forecast_origin", "segment", "part", "metric", "value", "series")
    return told.withColumns({"forecast_origin": F.lit(origin), "metric": F.lit("wrmsse")}).select(*columns)


def _errors(attributes: DataFrame, forecasts: DataFrame, horizon: int) -> DataFrame:
    """Per model and series its errors, one a period of the horizon, then for each whether it is judged: a closed place is not."""
    pairs = F.map_from_entries(F.collect_list(F.struct("horizon", (F.col("mean") - F.col("actual")).alias("error"))))
    of_series = forecasts.groupBy("model", *SERIES).agg(pairs.alias("errors"))
    periods = F.sequence(F.lit(1), F.lit(horizon))
    errors = F.transform(periods, lambda period: F.coalesce(F.col("errors")[period], F.lit(0.0)))
    judged = F.transform(periods, lambda period: F.col("errors")[period].isNotNull().cast("double"))
    values = F.concat(errors, judged)
    told = of_series.select(*SERIES, F.concat(F.lit(_MODEL), "model").alias("kind"), values.alias("values"))
    return told.join(attributes, on=list(SERIES))


def _histories(sequences: DataFrame, attributes: tuple[str, ...], config: Config, origin: date) -> DataFrame:
    """Per series its demand up to the origin, 0 before its first period, and its sales in money and units before the origin."""
    grain, horizon = config.series.grain, config.forecast.horizon
    longest = sequences.agg(F.max("length").alias("length")).first()["length"]

    def histories(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            demand = np.nan_to_num(split(batch, grain, origin, horizon)[0])
            demand = np.pad(demand, ((0, 0), (longest - demand.shape[1], 0)))
            prices = [
                np.nan_to_num(split(batch, grain, origin, horizon, name)[0]) for name in ("planned_price", "price")
            ]
            planned, seen = (np.pad(p, ((0, 0), (longest - p.shape[1], 0)))[:, -horizon:] for p in prices)
            recent = np.maximum(demand[:, -horizon:], 0.0)
            money = (recent * np.where(planned > 0, planned, seen)).sum(axis=1)
            weight = np.stack([money, recent.sum(axis=1)], axis=1)
            for kind, values in ((_HISTORY, demand), (_WEIGHT, weight)):
                named = {name: batch[name] for name in attributes} | {"kind": pa.repeat(kind, batch.num_rows)}
                yield pa.RecordBatch.from_pydict(named | {"values": row_lists(values)})

    schema = ", ".join(f"{name} string" for name in attributes) + ", kind string, values array<double>"
    columns = dict.fromkeys((*attributes, "first_period", "quantity", "planned_price", "price"))
    return sequences.select(*columns).mapInArrow(histories, schema)


def _nodes(sums: DataFrame, horizon: int) -> DataFrame:
    """Per model, level and node its weight and scaled error, over the periods in which a series of it is judged; nodes without a
    scale are left out."""
    scale = F.pandas_udf(_squared_scales, "double")
    at = ("level", "node")
    scales = sums.where(F.col("kind") == _HISTORY).select(*at, scale("values").alias("scale"))
    weights = sums.where(F.col("kind") == _WEIGHT).select(
        *at, F.col("values")[0].alias("money"), F.col("values")[1].alias("units")
    )
    priced = weights.agg(F.max("money").alias("most")).select((F.col("most") > 0).alias("priced"))
    weight = F.when(F.col("priced"), F.col("money")).otherwise(F.col("units"))
    weights = weights.crossJoin(F.broadcast(priced)).select(*at, weight.alias("weight"))
    errors = F.slice("values", 1, horizon)
    judged = F.size(F.filter(F.slice("values", horizon + 1, horizon), lambda count: count > 0))
    squared = F.aggregate(errors, F.lit(0.0), lambda total, error: total + error * error) / judged
    errors = sums.where(F.col("kind").startswith(_MODEL)).select(
        F.substring("kind", len(_MODEL) + 1, 1_000).alias("model"), *at, squared.alias("squared")
    )
    both = errors.join(scales.where(F.col("scale") > 0), on=list(at)).join(weights, on=list(at))
    return both.select("model", *at, "weight", F.sqrt(F.col("squared") / F.col("scale")).alias("error"))


def _squared_scales(values: pd.Series) -> pd.Series:
    """Scale of each history, from its first period with demand on."""
    histories = np.stack(values.to_numpy())
    begun = np.maximum.accumulate(histories != 0, axis=1)
    return pd.Series(squared_scale(np.where(begun, histories, np.nan)))
