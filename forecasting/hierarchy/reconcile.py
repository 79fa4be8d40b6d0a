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
from forecasting.features.ragged import row_lists
from forecasting.hierarchy.nodes import BETWEEN, Level, attributes_of, level_name, matrix, node_keys, sum_by_node
from forecasting.hierarchy.solve import multipliers
from forecasting.inventory.distribution import period_variance
from forecasting.lake import rows
from forecasting.scoring.methods import NOTHING

ATTRIBUTES: tuple[str, ...] = get_args(Attribute)  # of a node, columns of the table
Batches = Iterator[pa.RecordBatch]
#: Of series: numbers of their nodes [n, L], mean [n, H] and variance [n] to the mean that adds up, [n, H].
Adjust = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
MOST_NODES = 20_000  # that the driver solves for at once
MOST_PAIRS = 4_000_000  # pairs of nodes with series in common
_SUMS = "sums"


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
        numbers = [[self.number[level_name(level)][key] for key in node_keys(batch, level)] for level in self.levels]
        return np.array(numbers, np.int64).T


@contextmanager
def reconciled(forecasts: DataFrame, sequences: DataFrame, base: DataFrame, config: Config) -> Iterator[DataFrame]:
    """Forecasts of the series and of all nodes, of which the means add up; what they are made of is kept while they are used.

    The mean of a node is the sum of those of its series. Quantiles do not add up: those of a series are its own, and those of a node are of its
    base forecast, both moved with the mean. Of a closed place the forecast stays 0, and what nodes expect of such a period by their history is
    taken down by the share of the series that are closed.

    Args:
        forecasts: rows of `forecasts` of one origin, of as many periods as forecast.horizon says. sequences: gold `sequences`. base: as
            `base.base_forecasts` gives them, of the same series.

    Yields:
        Columns of `forecasts_by_level` but lineage, `forecast_origin` and `target_date`.

    Raises:
        ConfigError: more nodes than the driver can solve for.
    """
    levels = config.reconciliation.levels
    attributes = attributes_of(levels)
    series = _series(forecasts, sequences.select(*attributes), config).persist()
    try:
        nodes = _nodes(series, base, levels, config.forecast.horizon)
        adjusting = {"bottom_up": _kept, "top_down": _shared_out, "min_trace": _nearest}[config.reconciliation.method]
        adjusted = _adjusted(series, attributes, nodes, adjusting(nodes, series))
        yield _of_nodes(adjusted, base, levels, config).unionByName(_of_series(adjusted, forecasts, config))
    finally:
        series.unpersist()


def _series(forecasts: DataFrame, attributes: DataFrame, config: Config) -> DataFrame:
    """One row per series: its attributes, over the horizon its `mean` and whether it is `open`, and the mean `variance` of a period."""
    quantiles, levels, horizon = config.forecast.quantile_columns, config.forecast.quantiles, config.forecast.horizon

    def varied(batches: Batches) -> Batches:
        for batch in filter(len, batches):
            mean = batch["mean"].to_numpy(zero_copy_only=False)
            told = np.stack([batch[name].to_numpy(zero_copy_only=False) for name in quantiles], axis=-1)
            columns = {name: batch[name] for name in (*SERIES, "horizon", "mean", "method")}
            yield pa.RecordBatch.from_pydict(columns | {"variance": period_variance(mean, told, levels)})

    schema = "item_id string, location_id string, horizon int, mean double, method string, variance double"
    periods = forecasts.select(*SERIES, "horizon", "mean", "method", *quantiles).mapInArrow(varied, schema)
    period = F.struct("mean", F.when(F.col("method").isin(*NOTHING), 0.0).otherwise(1.0).alias("open"))
    of_series = periods.groupBy(*SERIES).agg(
        F.map_from_entries(F.collect_list(F.struct("horizon", period.alias("told")))).alias("told"),
        F.avg("variance").alias("variance"),
    )

    def over_horizon(name: str) -> Column:
        told = F.transform(F.sequence(F.lit(1), F.lit(horizon)), lambda at: F.col("told")[at][name])
        return told.alias(name)

    columns = of_series.select(*SERIES, over_horizon("mean"), over_horizon("open"), "variance")
    return columns.join(attributes, on=list(SERIES), how="left")


def _nodes(series: DataFrame, base: DataFrame, levels: Sequence[Level], horizon: int) -> Nodes:
    usual = F.aggregate("mean", F.lit(0.0), lambda total, mean: total + mean) / F.greatest(
        F.aggregate("open", F.lit(0.0), lambda total, open_: total + open_), F.lit(1.0)
    )
    expected_open = F.transform("open", lambda open_: open_ * usual)
    values = F.concat("mean", expected_open, F.array(usual, F.col("variance")))
    vectors = series.select(*attributes_of(levels), F.lit(_SUMS).alias("kind"), values.alias("values"))
    sums = sum_by_node(vectors, levels).persist()
    if (count := sums.count()) > MOST_NODES:
        raise _too_large(f"levels of {MOST_NODES:,} nodes at most, all together, came {count:,}")
    by_period = F.map_from_entries(F.collect_list(F.struct("horizon", "mean")))
    own = base.groupBy("level", "node").agg(by_period.alias("base"))
    told = sums.join(own, on=["level", "node"], how="left").select("level", "node", "values", "base")
    found = rows(told, most=MOST_NODES)
    sums.unpersist()
    order = {level_name(level): place for place, level in enumerate(levels)}
    found.sort(key=lambda row: (order[row["level"]], row["node"]))
    number: dict[str, dict[str, int]] = {name: {} for name in order}
    for place, row in enumerate(found):
        number[row["level"]][row["node"]] = place
    values = np.array([row["values"] for row in found])
    summed, open_, usually, variance = np.split(values, [horizon, 2 * horizon, 2 * horizon + 1], axis=1)
    told_by_base = [[(row["base"] or {}).get(ahead, np.nan) for ahead in range(1, horizon + 1)] for row in found]
    share = np.divide(open_, usually, out=np.zeros_like(open_), where=usually > 0)
    expected = np.where(np.isnan(told_by_base), summed, np.array(told_by_base) * share)
    return Nodes(tuple(levels), number, expected, summed, variance[:, 0])


def _too_large(told: str) -> ConfigError:
    return ConfigError(f"reconciliation.levels: expected {told}. Leave out those of single items.")


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
    shared = _shared_variance(nodes, series)
    weights = multipliers(shared, nodes.variance, nodes.base - nodes.summed)
    return lambda of_nodes, mean, variance: mean + variance[:, None] * weights[of_nodes].sum(axis=1)


def _shared_variance(nodes: Nodes, series: DataFrame) -> csc_matrix:
    """Of every two nodes the variance of the series that both hold, [N, N]."""
    count = len(nodes.variance)

    def pairs(batches: Batches) -> Batches:
        for batch in filter(len, batches):
            of_nodes, variance = nodes.of(batch), batch["variance"].to_numpy(zero_copy_only=False)
            both = (of_nodes[:, :, None] * count + of_nodes[:, None, :]).reshape(len(variance), -1)
            found, index = np.unique(both, return_inverse=True)
            value = np.bincount(index.ravel(), weights=np.repeat(variance, both.shape[1]))
            yield pa.RecordBatch.from_pydict({"pair": found, "value": value})

    columns = attributes_of(nodes.levels)
    told = series.select(*columns, "variance").mapInArrow(pairs, "pair long, value double")
    entries = told.groupBy("pair").agg(F.sum("value").alias("value")).limit(MOST_PAIRS + 1).toArrow()
    if len(entries) > MOST_PAIRS:
        raise _too_large(f"levels of which {MOST_PAIRS:,} pairs of nodes at most have series in common, came more")
    pair, value = (entries[name].to_numpy() for name in ("pair", "value"))
    return csc_matrix((value, (pair // count, pair % count)), shape=(count, count))


def _adjusted(series: DataFrame, attributes: Sequence[str], nodes: Nodes, adjust: Adjust) -> DataFrame:
    """Series with their attributes and, as `values`, the mean that adds up: 0 or more, and 0 where they are closed."""

    def adjusted(batches: Batches) -> Batches:
        for batch in filter(len, batches):
            mean, variance = matrix(batch["mean"]), batch["variance"].to_numpy(zero_copy_only=False)
            values = np.maximum(adjust(nodes.of(batch), mean, variance), 0.0) * matrix(batch["open"])
            yield pa.RecordBatch.from_pydict({name: batch[name] for name in attributes} | {"values": row_lists(values)})

    schema = ", ".join(f"{name} string" for name in attributes) + ", values array<double>"
    return series.select(*attributes, "mean", "open", "variance").mapInArrow(adjusted, schema)


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
    quantiles = [
        F.when(F.col("mean") > 0, F.greatest(F.col(name) + moved, F.lit(0.0))).otherwise(0.0).alias(name)
        for name in config.forecast.quantile_columns
    ]
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
