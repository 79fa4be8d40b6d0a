"""Levels and nodes: a level is a list of attributes, and the series that share their values are a node. Sums over nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from forecasting.demand.aggregate import SERIES
from forecasting.features.ragged import row_lists

Level = Sequence[str]
Batches = Iterator[pa.RecordBatch]
BETWEEN = "\x1f"  # before each value of a node's key, as no value holds it
AT_ONCE = 16  # batches whose sums are added up before they are handed on
_SUMS = "kind string, level string, node string, values array<double>"


def level_name(level: Level) -> str:
    """How a level is called: its attributes, or total for that of everything."""
    return " x ".join(level) or "total"


def attributes_of(levels: Sequence[Level]) -> tuple[str, ...]:
    """The keys of series and all attributes that levels name."""
    return tuple(dict.fromkeys((*SERIES, *(name for level in levels for name in level))))


def node_keys(batch: pa.RecordBatch, level: Level) -> np.ndarray:
    """The node of each row, [n], as text: the values of the level's attributes, each behind BETWEEN; nothing for null."""
    keys = np.full(batch.num_rows, "", object)
    for name in level:
        keys = keys + BETWEEN + np.asarray(batch[name].fill_null("").to_pylist(), object)
    return keys


def sum_by_node(series: DataFrame, levels: Sequence[Level], vectors: Callable[[Batches], Batches] = iter) -> DataFrame:
    """Sums of vectors over the nodes that their series belong to.

    Args:
        series: rows that `vectors` makes of batches with the attributes of levels, a `kind`, and `values`: array<double> of one length a kind;
            by default they are such rows.

    Returns:
        `kind`, `level` (its name), `node` (as `node_keys` gives it) and `values`.
    """
    partial = series.mapInArrow(_sum_batches(levels, vectors), _SUMS)
    return partial.repartition("kind", "level", "node").mapInArrow(_sum_again, _SUMS)


def matrix(lists: pa.ListArray) -> np.ndarray:
    """Lists as rows of one array, [n, longest]; shorter ones are zeros at their end."""
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    values = np.zeros((len(lengths), int(lengths.max(initial=0))))
    values[np.arange(values.shape[1]) < lengths[:, None]] = flat
    return values


def _sum_batches(levels: Sequence[Level], vectors: Callable[[Batches], Batches]) -> Callable[[Batches], Batches]:
    """A function for mapInArrow: the sums of a few batches' rows over each node that they belong to."""

    def sums(batches: Batches) -> Batches:
        for batch in vectors(batch for batch in batches if batch.num_rows):
            kinds = np.asarray(batch["kind"].to_pylist(), object)
            for kind in np.unique(kinds.astype(str)):
                chosen = batch.take(pa.array(np.flatnonzero(kinds == kind)))
                values = matrix(chosen["values"])
                for level in levels:
                    yield _summed(kind, level_name(level), node_keys(chosen, level), values)

    def sum_batches(batches: Batches) -> Batches:
        found = sums(batches)
        while some := list(islice(found, AT_ONCE * len(levels))):
            yield from _sum_again(some)

    return sum_batches


def _sum_again(batches: Iterable[pa.RecordBatch]) -> Batches:
    """Partial sums of nodes, added up."""
    parts: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    for batch in batches:
        kinds, levels = (np.asarray(batch[name].to_pylist(), object) for name in ("kind", "level"))
        nodes = np.asarray(batch["node"].to_pylist(), object)
        for kind, level in set(zip(kinds, levels, strict=True)):
            rows = np.flatnonzero((kinds == kind) & (levels == level))
            values = matrix(batch["values"].take(pa.array(rows)))
            parts.setdefault((kind, level), []).append((nodes[rows], values))
    for (kind, level), found in parts.items():
        yield _summed(kind, level, np.concatenate([n for n, _ in found]), np.concatenate([v for _, v in found]))


def _summed(kind: str, level: str, keys: np.ndarray, values: np.ndarray) -> pa.RecordBatch:
    nodes, index = np.unique(keys.astype(str), return_inverse=True)
    order = np.argsort(index, kind="stable")
    sums = np.add.reduceat(values[order], np.searchsorted(index[order], np.arange(len(nodes))), axis=0)
    return pa.RecordBatch.from_pydict(
        {
            "kind": pa.repeat(kind, len(nodes)),
            "level": pa.repeat(level, len(nodes)),
            "node": pa.array(nodes.tolist(), pa.string()),
            "values": row_lists(sums),
        }
    )
