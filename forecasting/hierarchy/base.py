"""Forecasts of nodes by themselves, from the sums of their series' histories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.baselines.equations import LONGEST
from forecasting.baselines.floors import FLOORS
from forecasting.baselines.local import LocalModels
from forecasting.config import Config
from forecasting.evaluation.backtest import floor_forecasts, forecasts_of_each_series, split
from forecasting.features.ragged import row_lists
from forecasting.hierarchy.nodes import Level, attributes_of, matrix, sum_by_node
from forecasting.models.batches import PRICE_ANNOUNCED, PROMOTION_ANNOUNCED, sequence_columns
from forecasting.models.shared import SharedRows, calendar_names, sees_years
from forecasting.models.spec import STATIC, Inputs, ModelSpec, model_spec
from forecasting.periods import shift
from forecasting.states import State

_NODE = (
    "item_id string, location_id string, first_period date, length int, quantity array<float>, observed array<tinyint>"
)


def base_forecasts(
    sequences: DataFrame, shared: SharedRows, levels: Sequence[Level], config: Config, origin: date, data_version: str
) -> DataFrame:
    """Forecasts of every node of some levels by `reconciliation.base`, as known at the origin.

    Args:
        sequences: gold `sequences`. shared: rows of the tables that series share.

    Returns:
        `level`, `node`, `horizon`, `mean` and the quantile columns.
    """
    name = config.reconciliation.base
    nodes = node_histories(sequences, levels, config, origin)
    if name in FLOORS:
        found = floor_forecasts(nodes, [name], config, origin)
    else:
        models = LocalModels((name,), _specification(shared, config, origin, data_version), shared)
        series = _as_series(nodes, models.spec.inputs, config)
        found = forecasts_of_each_series(
            series.select(*models.columns), models.forecasts, config, origin, only_what_came=False
        )
    columns = ("horizon", "mean", *config.forecast.quantile_columns)
    return found.select(F.col("location_id").alias("level"), F.col("item_id").alias("node"), *columns)


def node_histories(sequences: DataFrame, levels: Sequence[Level], config: Config, origin: date) -> DataFrame:
    """Demand of every node up to the origin, from its first sale on, of as many periods as any base reads: `sequences`' columns of demand,
    with the node as `item_id` and its level as `location_id`. A period counts as seen if that of some series of the node was."""
    grain, horizon = config.series.grain, config.forecast.horizon
    attributes = attributes_of(levels)
    longest = min(sequences.agg(F.max("length").alias("length")).first()["length"], LONGEST)

    def of_series(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            demand, seen = (np.nan_to_num(split(batch, grain, origin, horizon, c)[0]) for c in ("quantity", "observed"))
            both = [_of_width(values, longest) for values in (demand, seen)]
            named = {name: batch[name] for name in attributes} | {"kind": pa.repeat("history", batch.num_rows)}
            yield pa.RecordBatch.from_pydict(named | {"values": row_lists(np.concatenate(both, axis=1))})

    def of_nodes(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in filter(len, batches):
            values = matrix(batch["values"])
            begun = [max(1, longest - int(np.argmax(row != 0))) for row in values[:, :longest]]
            told = zip(values[:, :longest], values[:, longest:], begun, strict=True)
            quantity, observed = zip(*((demand[-n:], seen[-n:] > 0) for demand, seen, n in told), strict=True)
            yield pa.RecordBatch.from_pydict(
                {
                    "item_id": batch["node"],
                    "location_id": batch["level"],
                    "first_period": pa.array([shift(origin, 1 - n, grain) for n in begun], pa.date32()),
                    "length": pa.array(begun, pa.int32()),
                    "quantity": pa.array(list(quantity), pa.list_(pa.float32())),
                    "observed": pa.array([seen.astype(np.int8) for seen in observed], pa.list_(pa.int8())),
                }
            )

    columns = dict.fromkeys((*attributes, "first_period", "quantity", "observed"))
    series = sequences.where(F.col("first_period") <= F.lit(origin)).select(*columns)
    return sum_by_node(series, levels, of_series).mapInArrow(of_nodes, _NODE)


def _of_width(values: np.ndarray, width: int) -> np.ndarray:
    """The last periods of histories, [n, width]; 0 before their first."""
    recent = values[:, max(0, values.shape[1] - width) :]
    return np.pad(recent, ((0, 0), (width - recent.shape[1], 0)))


def _specification(shared: SharedRows, config: Config, origin: date, data_version: str) -> ModelSpec:
    """What a model may read of a node: its demand and the calendar of the configuration."""
    calendars = calendar_names(shared.calendar, config.features.calendar)[:1]
    inputs = Inputs(calendars=calendars, yearly=sees_years(shared.calendar, origin))
    return model_spec(config, inputs, origin, data_version)


def _as_series(nodes: DataFrame, inputs: Inputs, config: Config) -> DataFrame:
    """Nodes with the columns that models of series read; of prices, promotions and attributes nothing is known."""
    nothing = {
        "state": F.array_repeat(F.lit(int(State.SOLD)).cast("tinyint"), F.col("length")),
        "price": F.array_repeat(F.lit(0.0).cast("float"), F.col("length")),
        "planned_price": F.lit(None).cast("array<float>"),
        PROMOTION_ANNOUNCED: F.lit(None).cast("array<smallint>"),
        PRICE_ANNOUNCED: F.lit(None).cast("array<smallint>"),
        "calendar": F.lit(config.features.calendar),
        **{name: F.lit(None).cast("string") for name in STATIC if name not in nodes.columns},
    }
    return nodes.withColumns(nothing).select(*sequence_columns(inputs))
