"""Policies held against what came: the stock of each series with the orders that a policy would have placed from what was known then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.contracts import STOCK_SIMULATION
from forecasting.errors import ConfigError
from forecasting.evaluation.backtest import split
from forecasting.inventory.plan import SERIES, coverage_of, whole_periods, with_defaults
from forecasting.inventory.stock_flow import StockFlow, stock_flow
from forecasting.inventory.targets import order_up_to
from forecasting.periods import DAYS, position

_LINEAGE = ("data_version", "run_id", "created_at")
_COLUMNS = tuple(column for column in STOCK_SIMULATION.columns if column.name not in _LINEAGE)
_LEAST_SHORT = 1e-6  # units; less is rounding
Batches = Iterator[pa.RecordBatch]


def simulate(
    forecasts: DataFrame, sequences: DataFrame, stock: DataFrame, config: Config, origins: Sequence[date], last: date
) -> DataFrame:
    """What every policy of `simulation.policies` would have come to, from the period after the first origin to the last period.

    At each origin is ordered by what was forecast there, as `plan.build_plan` does, with `scoring.step` as the review period and the ordering terms of
    today. A series begins at the first origin from which it was forecast, with stock at the level of then; what is counted are whole
    replenishment cycles, each from the arrival of an order to that of the next. Of a series whose lead time is longer than all of it, none is.

    Args:
        forecasts: `forecasts` of these origins, each of periods 1 to forecast.horizon. sequences: gold `sequences`. stock: ordering terms, as
            `stock_now` gives them. origins: last periods that each order knows, in order, `scoring.step` apart. last: last period of the data.

    Returns:
        Columns of `stock_simulation` but lineage, one row per policy and series.

    Raises:
        ConfigError: no origin before the last period.
    """
    if not origins:
        raise ConfigError(
            "scoring.origins: expected 2 at least, since nothing has come yet of what follows the last one, came 1. Say how many weeks to "
            "replay, more than the lead time, for example --set scoring.origins=13 --set scoring.step=7, for the job score and for this one."
        )
    ahead = F.struct("forecast_origin", "horizon", "mean", *config.forecast.quantile_columns)
    of_origins = forecasts.where(F.col("forecast_origin").isin(list(origins)))
    models = F.array_join(F.array_sort(F.collect_set("model_version")), ", ").alias("model_version")
    told = of_origins.groupBy(*SERIES).agg(F.collect_list(ahead).alias("told"), models)
    history = sequences.select(*SERIES, "first_period", "quantity")
    series = with_defaults(told.join(history, on=list(SERIES)).join(stock, on=list(SERIES), how="left"), config)
    schema = ", ".join(f"{column.name} {column.type}" for column in _COLUMNS)
    columns = (*SERIES, "told", "model_version", "first_period", "quantity", "lead_time", "pack_size")
    return series.select(*columns).mapInArrow(_simulated(config, list(origins), last), schema)


def _simulated(config: Config, origins: list[date], last: date) -> Callable[[Batches], Batches]:
    """A function for mapInArrow: series with their forecasts of each origin, history and terms in, what policies came to out."""
    grain, between = config.series.grain, config.scoring.step
    first, end = (int(position(np.datetime64(day), grain)) for day in (origins[0], last))
    reviews = [between * number for number in range(len(origins))]

    def simulated(batches: Batches) -> Batches:
        for batch in filter(len, batches):
            history, demand = split(batch, grain, origins[0], end - first)
            known = np.concatenate([history, demand], axis=1)
            # Returns that a period's sales did not make up for are no demand.
            demand = np.maximum(np.nan_to_num(demand), 0.0)
            terms = pd.DataFrame(
                {name: batch[name].to_numpy(zero_copy_only=False) for name in ("lead_time", "pack_size")}
            )
            terms["review_period"] = between * DAYS[grain]
            lead = whole_periods((terms["lead_time"] + terms["review_period"]).to_numpy(), grain) - between
            ahead, begun = _ahead(batch, origins, config)
            for policy in config.simulation.policies:
                of_policy = POLICIES[policy]
                levels = [
                    of_policy(ahead[:, k], known[:, : history.shape[1] + review], terms, config)
                    for k, review in enumerate(reviews)
                ]
                backordered = config.simulation.unmet == "backordered"
                # Before its first forecast a series is not there yet.
                ordering = np.stack(levels, axis=1) * (np.arange(len(reviews)) >= begun[:, None])
                flow = stock_flow(demand, reviews, ordering, lead, terms["pack_size"].to_numpy(), backordered)
                yield _rows(batch, policy, demand, flow, lead, begun, origins, last, config)

    return simulated


def _ahead(batch: pa.RecordBatch, origins: list[date], config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts of each series and origin, mean and quantiles, [n, K, H, 1 + Q], 0 where a series was not forecast; and the number of the
    first origin from which it was, [n]."""
    names = ("mean", *config.forecast.quantile_columns)
    lengths, told = batch["told"].value_lengths().to_numpy(zero_copy_only=False), batch["told"].flatten()
    series = np.repeat(np.arange(batch.num_rows), lengths)
    days = told.field("forecast_origin").to_numpy(zero_copy_only=False)
    origin = np.searchsorted(np.array(origins, "datetime64[D]"), days.astype("datetime64[D]"))
    at = told.field("horizon").to_numpy(zero_copy_only=False) - 1
    found = np.zeros((batch.num_rows, len(origins), config.forecast.horizon, len(names)))
    for place, name in enumerate(names):
        found[series, origin, at, place] = told.field(name).to_numpy(zero_copy_only=False)
    begun = np.full(batch.num_rows, len(origins))
    np.minimum.at(begun, series, origin)
    return found, begun


def _of_plan(ahead: np.ndarray, known: np.ndarray, terms: pd.DataFrame, config: Config) -> np.ndarray:
    """The level of the job inventory: least at which `inventory.target` is met by the forecasts."""
    _, coverage = coverage_of(ahead[..., 0], ahead[..., 1:], terms, config)
    return order_up_to(coverage, config.inventory)


def _of_moving_average(ahead: np.ndarray, known: np.ndarray, terms: pd.DataFrame, config: Config) -> np.ndarray:
    """Average demand of late, for lead time, review period and some days more: what many order by, and a floor for every other policy."""
    days = DAYS[config.series.grain]
    late = known[:, -max(1, round(config.simulation.average_days / days)) :]
    lived = np.maximum((~np.isnan(late)).sum(axis=1), 1)
    average = np.maximum(np.nansum(late, axis=1), 0.0) / lived
    covered = (terms["lead_time"] + terms["review_period"]).to_numpy() + config.simulation.safety_days
    return np.ceil(average * covered / days - 1e-9)


#: Level of each series at an origin, [n], from its forecasts [n, H, 1 + Q], its demand up to there [n, periods] and terms.
POLICIES: dict[str, Callable[[np.ndarray, np.ndarray, pd.DataFrame, Config], np.ndarray]] = {
    "plan": _of_plan,
    "moving_average": _of_moving_average,
}


def _rows(
    batch: pa.RecordBatch,
    policy: str,
    demand: np.ndarray,
    flow: StockFlow,
    lead: np.ndarray,
    begun: np.ndarray,
    origins: list[date],
    last: date,
    config: Config,
) -> pa.RecordBatch:
    """One row a series, of the whole replenishment cycles from the arrival of its first order on."""
    count, periods, between = len(origins), demand.shape[1], config.scoring.step
    begins = begun * between + lead
    cycles = np.clip((periods - begins) // between, 0, count - begun)
    place, number = np.arange(periods), np.arange(count)
    counted = (place >= begins[:, None]) & (place < (begins + cycles * between)[:, None])
    ordering = (number >= begun[:, None]) & (number < (begun + cycles)[:, None])
    so_far = np.pad(np.cumsum(flow.short, axis=1), ((0, 0), (1, 0)))
    edges = np.minimum(begins[:, None] + between * np.arange(count + 1), periods)
    short_by_cycle = np.diff(np.take_along_axis(so_far, edges, axis=1), axis=1)  # [n, K]
    short, stock = flow.short * counted, flow.stock * counted
    days, costs = DAYS[config.series.grain], config.inventory
    values = {
        "simulation": np.full(batch.num_rows, config.simulation.name, object),
        "policy": np.full(batch.num_rows, policy, object),
        "item_id": batch["item_id"],
        "location_id": batch["location_id"],
        "first_origin": pa.array([origins[k] if c else None for k, c in zip(begun, cycles, strict=True)], pa.date32()),
        "model_version": batch["model_version"],
        "last_period": pa.array([last] * batch.num_rows, pa.date32()),
        "periods": counted.sum(axis=1).astype(np.int32),
        "demand": (demand * counted).sum(axis=1),
        "met": (flow.met * counted).sum(axis=1),
        "short": short.sum(axis=1),
        "average_stock": stock.sum(axis=1) / np.maximum(counted.sum(axis=1), 1),
        "cycles": cycles.astype(np.int32),
        "cycles_short": ((short_by_cycle > _LEAST_SHORT) & (number < cycles[:, None])).sum(axis=1).astype(np.int32),
        "orders": ((flow.ordered > 0) & ordering).sum(axis=1).astype(np.int32),
        "units_ordered": (flow.ordered * ordering).sum(axis=1),
        "holding_cost": stock.sum(axis=1) * days * costs.holding_cost,
        "shortage_cost": short.sum(axis=1) * costs.shortage_cost,
    }
    return pa.RecordBatch.from_pydict({column.name: values[column.name] for column in _COLUMNS})
