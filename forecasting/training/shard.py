"""One rank's part of the series: spilled to local files as it streams in, and drawn from them as training batches.

Memory per rank is one Arrow batch and one training batch, whatever the number of series.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa

from forecasting.models.batches import Block, CalendarAxis, to_block
from forecasting.models.spec import KNOWN, PAST, STATIC, ModelSpec


@dataclass(frozen=True)
class Batch:
    """Network input, and what training holds it against.

    inputs: see `DemandTransformer`; origins: [O]; actual, counts: [B, O, H].
    """

    inputs: dict[str, np.ndarray]
    origins: np.ndarray
    actual: np.ndarray
    counts: np.ndarray


class Shard:
    """Series of one rank, as they were known at `origin`, the last period that training may see."""

    def __init__(self, folder: Path, spec: ModelSpec, calendar: CalendarAxis, origin: int) -> None:
        self.spec, self.calendar, self.origin = spec, calendar, origin
        self.width = spec.context + spec.patch + 2 * spec.horizon  # context, phase shift, validation and its history
        self._folder, self.rows = folder, 0
        self._block: Block | None = None

    def fill(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Writes all rows to local files and maps them into memory."""
        names = [field.name for field in fields(Block)]
        files = {name: (self._folder / name).open("wb") for name in names}
        for batch in batches:
            if batch.num_rows:
                block = to_block(batch, self.spec, self.origin, self.width)
                for name, file in files.items():
                    np.ascontiguousarray(getattr(block, name)).tofile(file)
                self.rows += batch.num_rows
        for file in files.values():
            file.close()
        if self.rows:
            self._block = Block(**{name: self._map(name) for name in names})

    def _map(self, name: str) -> np.ndarray:
        width, ahead = self.width, self.width + self.spec.horizon
        shapes = {
            "quantity": (width,),
            "observed": (width,),
            "past": (width, len(PAST)),
            "known": (ahead, len(KNOWN)),
            "static": (len(STATIC),),
        }
        dtype = np.int32 if name == "static" else np.float32
        return np.memmap(self._folder / name, dtype, "r", shape=(self.rows, *shapes[name]))

    def training_rows(self, step: int, size: int, seed: int) -> np.ndarray:
        """Rows of a step: every series once an epoch, in an order that follows from seed and epoch. Steps past the end of
        the shard begin it anew, so that ranks with fewer series take as many steps as the others."""
        drawn = np.arange(step * size, (step + 1) * size)
        rows = np.empty(size, np.int64)
        for epoch in np.unique(drawn // self.rows):
            order = np.random.default_rng([seed, int(epoch)]).permutation(self.rows)
            here = drawn // self.rows == epoch
            rows[here] = order[drawn[here] % self.rows]
        return rows

    def training_batch(self, rows: np.ndarray, draw: np.random.Generator, origins_per_series: int) -> Batch:
        """A batch whose targets all lie before the validation window.

        The phase of the patches and the origins are drawn anew each step. The plan of promotions is hidden for half of the
        series, since a forecast made at the end of the plan has none.
        """
        spec = self.spec
        shift = int(draw.integers(spec.patch))
        count = min(origins_per_series, spec.patches)
        origins = np.sort(draw.choice(spec.patches, count, replace=False)).astype(np.int32)
        plan = (draw.random(len(rows)) < 0.5).astype(np.float32)
        return self._cut(rows, self.width - spec.horizon - shift, origins, plan, self.width - spec.horizon)

    def validation_batch(self, rows: np.ndarray) -> Batch:
        """The last horizon before `origin`, forecast from the period before it, with the plan that the final run has."""
        origins = np.array([self.spec.patches - 1], np.int32)
        plan = np.ones(len(rows), np.float32)
        return self._cut(rows, self.width - self.spec.horizon, origins, plan, self.width)

    def _cut(self, rows: np.ndarray, end: int, origins: np.ndarray, plan: np.ndarray, target_end: int) -> Batch:
        """Input whose context ends before column `end`; targets count up to column `target_end`."""
        spec, block = self.spec, self._block
        begin, ahead = end - spec.context, end + spec.horizon
        first = self.origin - self.width + 1
        inputs = {
            "quantity": block.quantity[rows, begin:end],
            "observed": block.observed[rows, begin:end],
            "past": block.past[rows, begin:end],
            "known": block.known[rows, begin:ahead],
            "static": block.static[rows],
            "plan": plan,
            "calendar": self.calendar.window(first + begin, first + ahead),
        }
        days = begin + (origins[:, None] + 1) * spec.patch + np.arange(spec.horizon)  # [O, H] columns
        inside = days < target_end
        at = np.minimum(days, target_end - 1)
        begun = np.maximum.accumulate(block.observed[rows], axis=1)
        begun = begun[:, begin + (origins + 1) * spec.patch - 1]  # [B, O]: sold by the origin
        counts = inside[None].astype(np.float32) * block.observed[rows][:, at] * np.maximum(begun, 0.2)[..., None]
        return Batch(inputs, origins, np.maximum(block.quantity[rows][:, at], 0.0), counts)
