"""Policies held against what came: each series replayed with the orders that a policy would have placed from what was known then."""

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
from forecasting.inventory.plan import SERIES, coverage_of, forecasts_of_series, whole_periods, with_defaults
from forecasting.inventory.replay import Replay, replay
from forecasting.inventory.targets import order_up_to
from forecasting.periods import DAYS, position

_LINEAGE = ("data_version", "run_id", "created_at")
_COLUMNS = tuple(column for column in STOCK_SIMULATION.columns if column.name not in _LINEAGE)
Batches = Iterator[pa.RecordBatch]


def simulate(
    forecasts: DataFrame, sequences: DataFrame, stock: DataFrame, config: Config, origins: Sequence[date], last: date
) -> DataFrame:
    """What every policy of `simulation.policies` would have come to, from the period after the first origin to the last period.

    At each origin is ordered by what was forecast there, as `plan.build_plan` does; the time between two origins is the review period. Stock begins
    at the level of the first order, and what happens before that could arrive is not counted; of a series whose lead time is longer than all
    of it, nothing is.

    Args:
        forecasts: `forecasts` of these origins. sequences: gold `sequences`. stock: ordering terms, as `stock_now` gives them.
        origins: last periods that each order knows, in order and evenly apart. last: last period of the data.

    Returns:
        Columns of `stock_simulation` but lineage, one row per policy and series.

    Raises:
        ConfigError: no origin before the last period.
    """
    if not origins:
        raise ConfigError(
            "scoring.origins: expected 2 at least, since nothing has come yet of what follows the last one, came 1. Say how many weeks to "
            "replay, for example --set scoring.origins=13 --set scoring.step=7, for the job score and for this one."
        )
    told = forecasts_of_series(forecasts.where(F.col("forecast_origin").isin(list(origins))), config)
    told = told.groupBy(*SERIES).agg(F.collect_list(F.struct("plan_date", "ahead")).alias("told"))
    history = sequences.select(*SERIES, "first_period", "quantity")
    series = with_defaults(told.join(history, on=list(SERIES)).join(stock, on=list(SERIES), how="left"), config)
    schema = ", ".join(f"{column.name} {column.type}" for column in _COLUMNS)
    columns = (*SERIES, "told", "first_period", "quantity", "lead_time", "pack_size")
    return series.select(*columns).mapInArrow(_simulated(config, list(origins), last), schema)


def _simulated(config: Config, origins: list[date], last: date) -> Callable[[Batches], Batches]:
    """A function for mapInArrow: series with their forecasts of each origin, history and terms in, what policies came to out."""
    grain = config.series.grain
    places = [int(position(np.datetime64(origin), grain)) for origin in origins]
    between, periods = config.scoring.step, int(position(np.datetime64(last), grain)) - places[0]
    reviews = [place - places[0] for place in places]
    names = ("mean", *config.forecast.quantile_columns)

    def simulated(batches: Batches) -> Batches:
        for batch in filter(len, batches):
            history, demand = split(batch, grain, origins[0], periods)
            terms = pd.DataFrame(
                {name: batch[name].to_numpy(zero_copy_only=False) for name in ("lead_time", "pack_size")}
            )
            terms["review_period"] = between * DAYS[grain]
            lead = whole_periods(terms["lead_time"].to_numpy() + terms["review_period"].to_numpy(), grain) - between
            known = np.nan_to_num(np.concatenate([history, demand], axis=1))
            # Returns that a period's sales did not make up for are no demand.
            demand = np.maximum(np.nan_to_num(demand), 0.0)
            ahead = _ahead(batch, origins, config.forecast.horizon, names)
            for policy in config.simulation.policies:
                levels = np.stack(
                    [
                        POLICIES[policy](ahead[:, k], known[:, : history.shape[1] + review], terms, config)
                        for k, review in enumerate(reviews)
                    ],
                    axis=1,
                )
                lost = config.simulation.unmet == "lost"
                done = replay(demand, reviews, levels, lead, terms["pack_size"].to_numpy(), served_later=not lost)
                yield _rows(batch, policy, demand, done, lead, reviews, origins, last, config)

    return simulated


def _ahead(batch: pa.RecordBatch, origins: list[date], horizon: int, names: Sequence[str]) -> np.ndarray:
    """Forecasts of each series and origin, [n, K, H, names]; 0 of a series that was not forecast yet."""
    told = batch["told"]
    owner = np.repeat(np.arange(batch.num_rows), told.value_lengths().to_numpy(zero_copy_only=False))
    each = told.flatten()
    number = {origin: place for place, origin in enumerate(origins)}
    origin = np.array([number[day] for day in each.field("plan_date").to_pylist()], np.int64)
    lists = each.field("ahead")
    count = lists.value_lengths().to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(count)), count)
    values = lists.flatten()
    at = values.field("horizon").to_numpy(zero_copy_only=False) - 1
    found = np.zeros((batch.num_rows, len(origins), horizon, len(names)))
    for place, name in enumerate(names):
        found[owner[row], origin[row], at, place] = values.field(name).to_numpy(zero_copy_only=False)
    return found


def _of_plan(ahead: np.ndarray, known: np.ndarray, terms: pd.DataFrame, config: Config) -> np.ndarray:
    """The level of the job inventory: least at which `inventory.target` is met by the forecasts."""
    _, coverage = coverage_of(ahead[..., 0], ahead[..., 1:], terms, config)
    return order_up_to(coverage, config.inventory)


def _of_moving_average(ahead: np.ndarray, known: np.ndarray, terms: pd.DataFrame, config: Config) -> np.ndarray:
    """So many days of the average demand of the last days: what many order by, and a floor for every other policy."""
    days = DAYS[config.series.grain]
    window = max(1, round(config.simulation.average_days / days))
    return np.ceil(
        np.maximum(known[:, -window:].sum(axis=1), 0.0) / window * config.simulation.cover_days / days - 1e-9
    )


#: Level of each series at an origin, [n], from its forecasts [n, H, names], its demand up to there [n, periods] and terms.
POLICIES: dict[str, Callable[[np.ndarray, np.ndarray, pd.DataFrame, Config], np.ndarray]] = {
    "plan": _of_plan,
    "moving_average": _of_moving_average,
}


def _rows(
    batch: pa.RecordBatch,
    policy: str,
    demand: np.ndarray,
    done: Replay,
    lead: np.ndarray,
    reviews: list[int],
    origins: list[date],
    last: date,
    config: Config,
) -> pa.RecordBatch:
    """One row a series, of what happened from the first review on at which an order could have arrived."""
    first = np.searchsorted(reviews, lead)  # [n]; as many as there are reviews: never
    begins = np.array([*reviews, demand.shape[1]])[first]
    counted, reviewed = np.arange(demand.shape[1]) >= begins[:, None], np.arange(len(reviews)) >= first[:, None]
    short, stock = done.short * counted, done.stock * counted
    periods, days, costs = counted.sum(axis=1), DAYS[config.series.grain], config.inventory
    values = {
        "policy": np.full(batch.num_rows, policy, object),
        "item_id": batch["item_id"],
        "location_id": batch["location_id"],
        "first_origin": pa.array([None if place == len(origins) else origins[place] for place in first], pa.date32()),
        "last_period": pa.array([last] * batch.num_rows, pa.date32()),
        "periods": periods.astype(np.int32),
        "demand": (demand * counted).sum(axis=1),
        "met": (done.met * counted).sum(axis=1),
        "short": short.sum(axis=1),
        "average_stock": stock.sum(axis=1) / np.maximum(periods, 1),
        "reviews": reviewed.sum(axis=1).astype(np.int32),
        "reviews_short": ((np.add.reduceat(short, reviews, axis=1) > 0) & reviewed).sum(axis=1).astype(np.int32),
        "orders": ((done.ordered > 0) & reviewed).sum(axis=1).astype(np.int32),
        "units_ordered": (done.ordered * reviewed).sum(axis=1),
        "holding_cost": stock.sum(axis=1) * days * costs.holding_cost,
        "shortage_cost": short.sum(axis=1) * costs.shortage_cost,
    }
    return pa.RecordBatch.from_pydict({column.name: values[column.name] for column in _COLUMNS})
