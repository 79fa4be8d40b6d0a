"""One rank's part of the series: spilled to local files as it streams in, and drawn from them as training batches.

Memory per rank is one Arrow batch and two training batches (one is learnt, the next is made), whatever the number of series.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa

from forecasting.config import TrainingConfig
from forecasting.models.batches import Block, block_shapes, network_input, to_block
from forecasting.models.shared import Shared
from forecasting.models.spec import ModelSpec
from forecasting.periods import NEVER

NOT_BEGUN = 0.2  # weight of forecasts for series that had not begun: of new items, known by their attributes alone


@dataclass(frozen=True)
class Batch:
    """Network input, and what training holds it against.

    inputs: see `DemandNetwork`; origins: [O]; actual, counts, censored: see `loss.training_loss`, [B, O, H].
    """

    inputs: dict[str, np.ndarray]
    origins: np.ndarray
    actual: np.ndarray
    counts: np.ndarray
    censored: np.ndarray


class Shard:
    """Series of one rank, as they were known at `origin`, the last period that training may see."""

    def __init__(self, folder: Path, spec: ModelSpec, shared: Shared, origin: int) -> None:
        self.spec, self.shared, self.origin = spec, shared, origin
        self.width = spec.context + max(spec.patch, spec.horizon)  # context, and phase shift or validation window
        self._folder, self.rows = folder, 0
        self._block: Block | None = None
        self.validation = np.zeros(0, np.int64)

    def fill(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Writes all rows to local files and maps them into memory."""
        names = [field.name for field in fields(Block)]
        files = {name: (self._folder / name).open("wb") for name in names}
        for batch in batches:
            if batch.num_rows:
                block = to_block(batch, self.spec, self.shared, self.origin, self.width)
                for name, file in files.items():
                    np.ascontiguousarray(getattr(block, name)).tofile(file)
                self.rows += batch.num_rows
        for file in files.values():
            file.close()
        if self.rows:
            self._block = Block(**{name: self._map(name) for name in names})

    def hold_out(self, count: int, seed: int, begin: int = 0, series: int | None = None) -> None:
        """Draws the series by whose last horizon training is judged, and which it does not see of them: `validation`, the rows that
        this shard has of them.

        They are drawn from the series of all ranks, so that they are the same whatever the number of ranks is, and a training that goes on
        with more or fewer of them is judged as it was.

        Args:
            count: series to draw. begin: series of the shards before this one. series: of all shards; None: this is all.
        """
        drawn = np.sort(np.random.default_rng(seed).permutation(self.rows if series is None else series)[:count])
        self.validation = drawn[(drawn >= begin) & (drawn < begin + self.rows)] - begin

    def _map(self, name: str) -> np.ndarray:
        shape, dtype = block_shapes(self.spec, self.width)[name]
        shape = (self.rows, *shape)
        return np.memmap(self._folder / name, dtype, "r", shape=shape) if np.prod(shape) else np.zeros(shape, dtype)

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

    def training_batch(self, rows: np.ndarray, draw: np.random.Generator, config: TrainingConfig) -> Batch:
        """A batch with targets up to the end of training, or up to the validation window of series that are judged by it.

        The phase of the patches and the origins are drawn anew each step. The plan of promotions is hidden for half of the
        series, since a forecast made at the end of the plan has none, and of a few all history up to some day, so that the
        network learns what to say of items that are new.
        """
        spec = self.spec
        shift = int(draw.integers(spec.patch))
        count = min(config.origins_per_series, spec.patches)
        origins = np.sort(draw.choice(spec.patches, count, replace=False)).astype(np.int32)
        plan = (draw.random(len(rows)) < 0.5).astype(np.float32)
        hidden = np.where(
            draw.random(len(rows)) < config.history_hidden, draw.integers(spec.context, size=len(rows)), 0
        )
        end = np.where(np.isin(rows, self.validation), self.width - spec.horizon, self.width)
        return self._cut(rows, self.width - shift, origins, end, plan, hidden)

    def validation_batch(self, rows: np.ndarray) -> Batch:
        """The last horizon before `origin`, forecast from the period before it, with the plan that the final run has."""
        origins = np.array([self.spec.patches - 1], np.int32)
        return self._cut(rows, self.width - self.spec.horizon, origins, np.full(len(rows), self.width))

    def _cut(
        self,
        rows: np.ndarray,
        end: int,
        origins: np.ndarray,
        target_end: np.ndarray,
        plan: np.ndarray | None = None,
        hidden: np.ndarray | None = None,
    ) -> Batch:
        """Input whose context ends before column `end`.

        Args:
            target_end: column before which targets count, [B].
            plan: 1 where the plan of promotions is shown, [B]; None: everywhere. hidden: periods of the context of which nothing
                is shown, [B].
        """
        spec, block = self.spec, self._block
        begin = end - spec.context
        inputs = network_input(block, rows, begin, origins, spec, self.shared, self.origin - self.width + 1)
        if plan is not None:
            inputs["plan"] = plan
        if hidden is not None:
            shown = (np.arange(spec.context) >= hidden[:, None]).astype(np.float32)
            for name in ("quantity", "observed", "censored"):
                inputs[name] = inputs[name] * shown
            for name in ("past", "groups"):
                inputs[name] = inputs[name] * shown[..., None]
            of_sales = inputs["price_lead"][:, : spec.context] == NEVER  # seen when it was sold, as no new item was
            price = inputs["price"].copy()
            price[:, : spec.context] *= np.where(of_sales, shown, 1.0)
            inputs["price"] = price
        days = begin + (origins[:, None] + 1) * spec.patch + np.arange(spec.horizon)  # [O, H] columns
        at = np.minimum(days, self.width - 1)
        quantity, observed, censored = (x[rows][:, at] for x in (block.quantity, block.observed, block.censored))
        begun = np.maximum.accumulate(block.observed[rows], axis=1)
        begun = begun[:, begin + (origins + 1) * spec.patch - 1]  # [B, O]: sold by the origin
        counts = (days < target_end[:, None, None]) * observed * np.maximum(begun, NOT_BEGUN)[..., None]
        return Batch(inputs, origins, np.maximum(quantity, 0.0), counts.astype(np.float32), censored.astype(np.float32))
