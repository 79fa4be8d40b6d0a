"""Arrays of many series behind one another, and lists of events that belong to places in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Ragged:
    """Where lists of events, one list a series, belong in arrays of all periods behind one another.

    owner: series of each event, [events]. start: first place of each series, [series]. lengths: its periods, [series].
    """

    owner: np.ndarray
    start: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, events: pa.ListArray, lengths: np.ndarray) -> Ragged:
        """For one list of events per series; a null list has none."""
        counts = np.asarray(events.value_lengths().fill_null(0))
        return cls(np.repeat(np.arange(len(counts)), counts), np.cumsum(lengths) - lengths, lengths)

    def scatter(self, offset: np.ndarray, values: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
        """`into`, or zeros, with each value at its series' period `offset`; events outside of it are left out.

        Args:
            offset, values: [events].

        Returns:
            [sum(lengths)].
        """
        target = np.zeros(int(self.lengths.sum()), values.dtype) if into is None else into
        inside = (offset >= 0) & (offset < self.lengths[self.owner])
        target[(self.start[self.owner] + offset)[inside]] = values[inside]
        return target


def lists(values: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    """Arrays behind one another, [sum(lengths)], as one list a series."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def row_lists(values: np.ndarray) -> pa.ListArray:
    """The rows of an array, [n, width], as one list each."""
    return lists(np.ascontiguousarray(values).ravel(), np.full(len(values), values.shape[1]))


def blocks(lengths: np.ndarray, size: int, step: int = 1):
    """Series in groups of at most `size`, each with the index of their periods in a dense block that ends at the last period.

    Args:
        step: the width of a block is a multiple of it, so that every `step` periods of a series are the same ones in any block.

    Yields:
        series [n], index [n, width] of places in the arrays behind one another, alive [n, width]: where there is a period.
    """
    start = np.cumsum(lengths) - lengths
    order = np.argsort(lengths, kind="stable")  # series of about the same length waste no room
    for begin in range(0, len(order), size):
        series = order[begin : begin + size]
        width = -(-int(lengths[series].max()) // step) * step
        back = np.arange(width) - width  # -width to -1
        at = lengths[series, None] + back
        alive = at >= 0
        yield series, np.where(alive, start[series, None] + at, 0), alive
