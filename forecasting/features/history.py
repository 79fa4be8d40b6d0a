"""The sales history of each series in one row: rows of demand to lists, sorted by period."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from forecasting.demand.aggregate import SERIES
from forecasting.periods import position

ROWS_PER_TASK = 1_500_000  # rows of demand that one Python worker sorts at a time: some 200 MB
SERIES_PER_BATCH = 2_048
MEASURES = ("quantity", "revenue", "discount")
_SCHEMA = "item_id string, location_id string, first_period date, offset array<int>, " + ", ".join(
    f"{name} array<float>" for name in MEASURES
)


def histories(demand: DataFrame, grain: str, rows: int) -> DataFrame:
    """One row per series.

    Args:
        demand: rows of `demand`, in any order.
        rows: about how many they are.

    Returns:
        `item_id`, `location_id`, `first_period`, and as lists over the periods with sales lines, in order: `offset` (periods
        since first_period), `quantity`, `revenue`, `discount`.
    """
    tasks = max(demand.sparkSession.sparkContext.defaultParallelism, -(-rows // ROWS_PER_TASK))
    spread = demand.select(*SERIES, "period_start", *MEASURES).repartition(tasks, *SERIES)
    return spread.mapInArrow(_grouping(grain), _SCHEMA)


def _grouping(grain: str):
    """A function for mapInArrow: rows of whole series in, one row per series out."""

    def group(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        filled = [batch for batch in batches if batch.num_rows]
        if filled:
            rows = pa.Table.from_batches(filled)
            filled.clear()
            yield from group_rows(rows, grain)

    return group


def group_rows(rows: pa.Table, grain: str) -> Iterator[pa.RecordBatch]:
    """Rows of demand of whole series to one row per series, in batches."""
    codes = [rows[name].combine_chunks().dictionary_encode() for name in SERIES]
    item, location = (np.asarray(code.indices).astype(np.int64) for code in codes)
    series = item * len(codes[1].dictionary) + location
    period = position(rows["period_start"].to_numpy(), grain)
    span = int(period.max() - period.min()) + 1
    order = np.argsort(series * span + (period - period.min()))  # one key sorts several times as fast as two
    series, period = series[order], period[order]
    start = np.concatenate([[0], np.flatnonzero(np.diff(series)) + 1])
    count = np.diff(np.append(start, len(series)))
    offset = (period - np.repeat(period[start], count)).astype(np.int32)
    values = {name: rows[name].to_numpy()[order].astype(np.float32) for name in MEASURES}
    first = rows["period_start"].to_numpy().astype("datetime64[D]")[order][start]
    for begin in range(0, len(start), SERIES_PER_BATCH):
        chosen = slice(begin, begin + SERIES_PER_BATCH)
        inside = slice(start[begin], start[chosen][-1] + count[chosen][-1])
        head = order[start[chosen]]
        offsets = pa.array(np.concatenate([[0], np.cumsum(count[chosen])]).astype(np.int32))
        yield pa.RecordBatch.from_pydict(
            {
                **{name: code.take(pa.array(head)).cast(pa.string()) for name, code in zip(SERIES, codes, strict=True)},
                "first_period": pa.array(first[chosen], pa.date32()),
                "offset": pa.ListArray.from_arrays(offsets, pa.array(offset[inside])),
                **{name: pa.ListArray.from_arrays(offsets, pa.array(values[name][inside])) for name in MEASURES},
            }
        )
