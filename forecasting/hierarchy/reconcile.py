"""Forecasts of all levels that add up, out of forecasts of series and of nodes that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy.sparse import csc_matrix

from forecasting.config import Attribute, Config
from forecasting.demand.aggregate import SERIES
from forecasting.errors import ConfigError
from forecasting.hierarchy.nodes import BETWEEN, Level, attributes_of, level_name, lists, matrix, node_keys, sum_by_node
from forecasting.hierarchy.solve import multipliers
from forecasting.inventory.distribution import period_variance
from forecasting.lake import rows

ATTRIBUTES: tuple[str, ...] = get_args(Attribute)  # of a node, columns of the table
Batches = Iterator[pa.RecordBatch]
Adjust = Callable[
    [np.ndarray, np.ndarray, np.ndarray], np.ndarray
]  # nodes [n, L], mean [n, H], variance [n] to mean [n, H]
MOST_NODES = 20_000  # that the driver solves for at once
MOST_PAIRS = 4_000_000  # pairs of nodes with series in common
_SUMS, _PAIR = "sums", "i int, j int, value double"


@dataclass(frozen=True)
class Nodes:
    """The nodes of levels, in order, and what is known of them: base and summed forecasts, [N, H], and the summed variance of their
    series, [N]."""

    levels: tuple[Level, ...]
    number: dict[str, dict[str, int]]  # of each node, by level and key
    base: np.ndarray
    summed: np.ndarray
    variance: np.ndarray

    def of(self, batch: pa.RecordBatch) -> np.ndarray:
        """Numbers of the nodes that series belong to, [n, L]."""
        return np.stack(
            [[self.number[level_name(level)][key] for key in node_keys(batch, level)] for level in self.levels], axis=1
        )


@contextmanager
def reconciled(forecasts: DataFrame, sequences: DataFrame, base: DataFrame, config: Config) -> Iterator[DataFrame]:
    """Forecasts of the series and of all nodes, of which the means add up; what they are made of is kept while they are used.

    The mean of a node is the sum of those of its series. Quantiles do not add up: those of a series are its own, and those of a node are of its
    base forecast, both moved with the mean.

    Args:
        forecasts: rows of `forecasts` of one origin. sequences: gold `sequences`. base: as `base.base_forecasts` gives them.

    Yields:
        Columns of `forecasts_by_level` but lineage, `forecast_origin` and `target_date`.

    Raises:
        ConfigError: more nodes than the driver can solve for.
    """
    levels = tuple(level for level in config.reconciliation.levels if tuple(level) != SERIES)
    attributes = attributes_of(levels)
    series = _series(forecasts, sequences.select(*attributes), config).persist()
    try:
        nodes = _nodes(series, base, levels, config.forecast.horizon)
        adjust = {"bottom_up": _kept, "top_down": _shared_out, "min_trace": _nearest}[config.reconciliation.method](
            nodes, series
        )
        adjusted = _adjusted(series, attributes, nodes, adjust)
        yield _of_nodes(adjusted, base, levels, config).unionByName(_of_series(adjusted, forecasts, config))
    finally:
        series.unpersist()


def _series(forecasts: DataFrame, attributes: DataFrame, config: Config) -> DataFrame:
    """One row per series: its attributes, `mean` over the horizon, and the mean `variance` of a period."""
    quantiles, levels, horizon = config.forecast.quantile_columns, config.forecast.quantiles, config.forecast.horizon

    def varied(batches: Batches) -> Batches:
        for batch in batches:
            mean = batch["mean"].to_numpy(zero_copy_only=False)
            told = np.stack([batch[name].to_numpy(zero_copy_only=False) for name in quantiles], axis=-1)
            columns = {name: batch[name] for name in (*SERIES, "horizon", "mean")}
            yield pa.RecordBatch.from_pydict(columns | {"variance": period_variance(mean, told, levels)})

    schema = "item_id string, location_id string, horizon int, mean double, variance double"
    periods = forecasts.select(*SERIES, "horizon", "mean", *quantiles).mapInArrow(varied, schema)
    by_period = F.map_from_entries(F.collect_list(F.struct("horizon", "mean")))
    of_series = periods.groupBy(*SERIES).agg(by_period.alias("means"), F.avg("variance").alias("variance"))
    mean = F.transform(F.sequence(F.lit(1), F.lit(horizon)), lambda at: F.coalesce(F.col("means")[at], F.lit(0.0)))
    return of_series.select(*SERIES, mean.alias("mean"), "variance").join(attributes, on=list(SERIES))


def _nodes(series: DataFrame, base: DataFrame, levels: Sequence[Level], horizon: int) -> Nodes:
    values = F.concat("mean", F.array("variance"))
    vectors = series.select(*attributes_of(levels), F.lit(_SUMS).alias("kind"), values.alias("values"))
    sums = sum_by_node(vectors, levels).cache()
    if (count := sums.count()) > MOST_NODES:
        raise ConfigError(
            f"reconciliation.levels: expected levels of {MOST_NODES:,} nodes at most, all together, came {count:,}. Leave out those of single items."
        )
    by_period = F.map_from_entries(F.collect_list(F.struct("horizon", "mean")))
    told = base.groupBy("level", "node").agg(by_period.alias("base"))
    order = {level_name(level): place for place, level in enumerate(levels)}
    found = rows(
        sums.join(told, on=["level", "node"], how="left").select("level", "node", "values", "base"), most=MOST_NODES
    )
    sums.unpersist()
    found.sort(key=lambda row: (order[row["level"]], row["node"]))
    number: dict[str, dict[str, int]] = {name: {} for name in order}
    for place, row in enumerate(found):
        number[row["level"]][row["node"]] = place
    summed = np.array([row["values"] for row in found])
    own = [[(row["base"] or {}).get(ahead, summed[place, ahead - 1]) for ahead in range(1, horizon + 1)] for place, row in enumerate(found)]  # fmt: skip
    return Nodes(tuple(levels), number, np.array(own), summed[:, :horizon], summed[:, horizon])


def _kept(nodes: Nodes, series: DataFrame) -> Adjust:
    """Bottom-up: forecasts of series stay as they are."""
    return lambda of_nodes, mean, variance: mean


def _shared_out(nodes: Nodes, series: DataFrame) -> Adjust:
    """Top-down by forecast proportions (Athanasopoulos, Ahmed & Hyndman 2009): the forecast of each node of the level with fewest
    nodes is shared out among its series as their forecasts stand to one another."""
    top = min(range(len(nodes.levels)), key=lambda place: len(nodes.number[level_name(nodes.levels[place])]))
    ratio = np.divide(nodes.base, nodes.summed, out=np.ones_like(nodes.base), where=nodes.summed > 0)
    return lambda of_nodes, mean, variance: mean * ratio[of_nodes[:, top]]


def _nearest(nodes: Nodes, series: DataFrame) -> Adjust:
    """Minimum trace, see `hierarchy.solve`. The variance of a series' error is taken to be that of its demand, and that of a node's the sum
    of those of its series (structural scaling, Athanasopoulos et al. 2017, by variances in place of ones)."""
    count = len(nodes.variance)

    def pairs(batches: Batches) -> Batches:
        for batch in batches:
            of_nodes, variance = nodes.of(batch), batch["variance"].to_numpy(zero_copy_only=False)
            both = (of_nodes[:, :, None].astype(np.int64) * count + of_nodes[:, None, :]).reshape(len(variance), -1)
            found, index = np.unique(both, return_inverse=True)
            shared = np.bincount(index.ravel(), weights=np.repeat(variance, both.shape[1]))
            yield pa.RecordBatch.from_pydict(
                {"i": (found // count).astype(np.int32), "j": (found % count).astype(np.int32), "value": shared}
            )

    columns = attributes_of(nodes.levels)
    told = (
        series.select(*columns, "variance")
        .mapInArrow(pairs, _PAIR)
        .groupBy("i", "j")
        .agg(F.sum("value").alias("value"))
    )
    entries = rows(told, most=MOST_PAIRS)
    at = np.array([(entry["i"], entry["j"]) for entry in entries]).T
    shared = csc_matrix(([entry["value"] for entry in entries], at), shape=(count, count))
    weights = multipliers(shared, nodes.variance, nodes.base - nodes.summed)
    return lambda of_nodes, mean, variance: np.maximum(mean + variance[:, None] * weights[of_nodes].sum(axis=1), 0.0)


def _adjusted(series: DataFrame, attributes: Sequence[str], nodes: Nodes, adjust: Adjust) -> DataFrame:
    """Series with their attributes and, as `values`, the mean that adds up."""

    def adjusted(batches: Batches) -> Batches:
        for batch in batches:
            mean, variance = matrix(batch["mean"]), batch["variance"].to_numpy(zero_copy_only=False)
            columns = {name: batch[name] for name in attributes}
            yield pa.RecordBatch.from_pydict(columns | {"values": lists(adjust(nodes.of(batch), mean, variance))})

    schema = ", ".join(f"{name} string" for name in attributes) + ", values array<double>"
    return series.select(*attributes, "mean", "variance").mapInArrow(adjusted, schema)


def _of_nodes(adjusted: DataFrame, base: DataFrame, levels: Sequence[Level], config: Config) -> DataFrame:
    sums = sum_by_node(adjusted.withColumn("kind", F.lit(_SUMS)), levels)
    summed = sums.select("level", "node", F.posexplode("values").alias("at", "mean"))
    summed = summed.select("level", "node", (F.col("at") + 1).alias("horizon"), "mean")
    told = summed.join(base.withColumnRenamed("mean", "base_mean"), on=["level", "node", "horizon"], how="left")
    places = {level_name(level): {name: place for place, name in enumerate(level)} for level in levels}
    values = F.split(F.substring("node", 2, 10_000), BETWEEN)

    def attribute(name: str) -> Column:
        holding = {level: at[name] for level, at in places.items() if name in at}
        cases = [F.when(F.col("level") == level, F.get(values, F.lit(at))) for level, at in holding.items()]
        return F.nullif(F.coalesce(*cases, F.lit(None).cast("string")), F.lit("")).alias(name)

    words = F.when(F.col("node") == "", "total").otherwise(F.array_join(values, " / "))
    attributes = [attribute(name) for name in ATTRIBUTES]
    # Of many units: quantiles keep their distance to the mean.
    moved = F.col("mean") - F.col("base_mean")
    quantiles = [F.greatest(F.col(name) + moved, F.lit(0.0)).alias(name) for name in config.forecast.quantile_columns]
    return _told(told, words, attributes, quantiles, F.lit(config.reconciliation.base), config)


def _of_series(adjusted: DataFrame, forecasts: DataFrame, config: Config) -> DataFrame:
    names = config.forecast.quantile_columns
    own = forecasts.select(*SERIES, "horizon", F.col("mean").alias("base_mean"), "method", *names)
    joined = own.join(adjusted, on=list(SERIES)).withColumns(
        {"level": F.lit(level_name(SERIES)), "mean": F.element_at("values", F.col("horizon"))}
    )
    given = [F.col(name) if name in adjusted.columns else F.lit(None).cast("string").alias(name) for name in ATTRIBUTES]
    # Of few units: quantiles keep their ratio to the mean, and whole units stay whole.
    counted = F.forall(F.array(*names), lambda value: value == F.round(value))
    ratio = F.when(F.col("base_mean") > 0, F.col("mean") / F.col("base_mean")).otherwise(1.0)
    scaled = {name: F.col(name) * ratio for name in names}
    quantiles = [F.when(counted, F.round(value)).otherwise(value).alias(name) for name, value in scaled.items()]
    return _told(joined, F.concat_ws(" / ", *SERIES), given, quantiles, F.col("method"), config)


def _told(
    found: DataFrame,
    node: Column,
    attributes: Sequence[Column],
    quantiles: Sequence[Column],
    base_method: Column,
    config: Config,
) -> DataFrame:
    method = F.lit(config.reconciliation.method).alias("method")
    return found.select(
        *("level", node.alias("node"), *attributes, "horizon", "base_mean", "mean", *quantiles),
        *(base_method.alias("base_method"), method),
    )
