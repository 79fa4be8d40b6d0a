"""Safety stock, reorder point, order quantity and stock-out risk per series, from forecasts and stock."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.contracts import INVENTORY_PLAN
from forecasting.errors import LakeError
from forecasting.inventory.distribution import CountDemand, period_variance, sum_moments
from forecasting.inventory.targets import Coverage, order_up_to, packed
from forecasting.periods import DAYS, SEASON

SERIES = ("item_id", "location_id")
TERMS = ("on_hand", "on_order", "lead_time", "review_period", "pack_size")
_LINEAGE = ("model_version", "data_version", "run_id", "created_at")
_COLUMNS = tuple(column for column in INVENTORY_PLAN.columns if column.name not in _LINEAGE)
_DECIDED = _COLUMNS[[column.name for column in _COLUMNS].index("protection_periods") :]


def build_plan(forecasts: DataFrame, stock: DataFrame, config: Config) -> DataFrame:
    """One decision per series, as of the origin of its forecasts.

    An order placed now must last until the one after it arrives: for lead time + review period (Silver, Pyke & Thomas,
    Inventory and Production Management in Supply Chains, 7.3: periodic review, order up to a level). Where that reaches
    past the horizon, the mean of the forecast's last season stands for each further period. A series without stock
    terms has those of the configuration, nothing on hand and nothing on order.

    Args:
        forecasts: `forecasts` of one origin.
        stock: stock now and ordering terms, as `stock_now` gives them.

    Returns:
        Columns of `inventory_plan` but lineage.

    Raises:
        LakeError: series are forecast for different numbers of periods (when the frame is computed).
    """
    ahead = F.struct("horizon", "mean", *config.forecast.quantile_columns)
    by_origin = forecasts.groupBy(*SERIES, F.col("forecast_origin").alias("plan_date"))
    series = by_origin.agg(F.array_sort(F.collect_list(ahead)).alias("ahead"))
    terms = with_defaults(series.join(stock.select(*SERIES, *TERMS), on=list(SERIES), how="left"), config)
    schema = ", ".join(f"{column.name} {column.type}" for column in _COLUMNS)
    return terms.mapInArrow(_decide_batches(config), schema)


def with_defaults(series: DataFrame, config: Config) -> DataFrame:
    """Series with stock and ordering terms, those of the configuration where they have none of their own."""
    ours = config.inventory
    defaults = {
        "on_hand": 0.0,
        "on_order": 0.0,
        "lead_time": ours.lead_time,
        "review_period": ours.review_period,
        "pack_size": float(ours.pack_size),
    }
    return series.withColumns({name: F.coalesce(name, F.lit(value)) for name, value in defaults.items()})


def _decide_batches(config: Config) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for mapInArrow: series with `ahead` and terms in, decisions out."""

    def decide_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            horizons = batch["ahead"].value_lengths()
            if len(horizons.unique()) > 1:
                shortest, longest = pc.min_max(horizons).values()
                raise LakeError(f"Table forecasts: expected as many rows of each series, came {shortest} to {longest}.")
            ahead = batch["ahead"].flatten()
            names = ("mean", *config.forecast.quantile_columns)
            by_name = (ahead.field(name).to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1) for name in names)
            mean, *quantiles = by_name  # [series, H] each
            terms = pd.DataFrame({name: batch[name].to_numpy(zero_copy_only=False) for name in TERMS})
            decided = decide(mean, np.stack(quantiles, axis=-1), terms, config)
            given = {column.name: batch[column.name] for column in _COLUMNS if column not in _DECIDED}
            yield pa.RecordBatch.from_pydict(given | {name: decided[name].to_numpy() for name in decided})

    return decide_batches


def decide(mean: np.ndarray, quantiles: np.ndarray, terms: pd.DataFrame, config: Config) -> pd.DataFrame:
    """The decisions of n series.

    Args:
        mean: expected demand of each period ahead, [n, H], units.
        quantiles: [n, H, K], units.
        terms: n rows with the columns `TERMS`, without nulls.

    Returns:
        n rows with the columns of `inventory_plan` from `protection_periods` on.
    """
    periods, coverage = coverage_of(mean, quantiles, terms, config)
    demand = coverage.protection
    reorder_point = order_up_to(coverage, config.inventory)
    position = (terms["on_hand"] + terms["on_order"]).to_numpy()
    order = packed(reorder_point - position, terms["pack_size"].to_numpy())
    return pd.DataFrame(
        {
            "protection_periods": periods,
            "protection_demand": demand.mean,
            "protection_demand_std": demand.std,
            "safety_stock": reorder_point - demand.mean,
            "reorder_point": reorder_point,
            "fill_rate": coverage.fill_rate(reorder_point),
            "order_quantity": order,
            "stock_out_probability": demand.exceeds(position),
            "stock_out_probability_after_order": demand.exceeds(position + order),
            "expected_shortage": demand.shortage(position),
            "expected_shortage_after_order": demand.shortage(position + order),
        }
    )


def coverage_of(
    mean: np.ndarray, quantiles: np.ndarray, terms: pd.DataFrame, config: Config
) -> tuple[np.ndarray, Coverage]:
    """Periods of each series' protection interval, [n], and what an order must last for.

    Args:
        mean, quantiles: as `decide` takes them. terms: columns `lead_time` and `review_period`.
    """
    grain = config.series.grain
    review_days = terms["review_period"].to_numpy()
    periods = whole_periods(terms["lead_time"].to_numpy() + review_days, grain)
    lead_periods = periods - whole_periods(review_days, grain)
    variance = period_variance(mean, quantiles, config.forecast.quantiles)

    def over(periods: np.ndarray) -> CountDemand:
        correlation = config.inventory.demand_correlation
        return CountDemand(*sum_moments(mean, variance, periods, correlation, SEASON[grain]))

    demand, before = over(periods), over(lead_periods)
    # Of less demand no more by chance than of more: else the longer interval would be the safer one far out.
    spread = np.divide(demand.variance, demand.mean, out=np.ones_like(demand.mean), where=demand.mean > 0)
    before = CountDemand(before.mean, np.minimum(before.variance, np.maximum(spread, 1.0) * before.mean))
    return periods, Coverage(demand, before, review_days)


def whole_periods(days: np.ndarray, grain: str) -> np.ndarray:
    """Periods that so many days reach into, one at least, [n]."""
    return np.maximum(np.ceil(days / DAYS[grain] - 1e-9), 1).astype(np.int32)
