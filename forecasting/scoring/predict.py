"""A model ready to score: compiled once for one batch shape, fed with padded batches."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from forecasting.models.artifact import load_model
from forecasting.models.batches import Block, CalendarAxis, to_block


class Predictor:
    """Scores series from one forecast origin with one model."""

    def __init__(self, artifact: bytes, calendar: CalendarAxis, origin: int, batch_size: int) -> None:
        import tensorflow as tf

        self.model, self.spec = load_model(artifact)
        self._tf, self._origin, self._batch_size = tf, origin, batch_size
        first = origin - self.spec.context + 1
        self._calendar = tf.constant(calendar.window(first, origin + self.spec.horizon + 1))
        self._last = tf.constant([self.spec.patches - 1], tf.int32)
        self._forward = tf.function(self.model.call)

    def predict(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """Forecasts of the rows of `batch` (columns of `sequences`).

        Returns:
            mean [rows, H] and quantiles [rows, H, Q], in units.
        """
        block = to_block(batch, self.spec, self._origin, self.spec.context)
        parts = [self._predict(block, at) for at in range(0, len(block), self._batch_size)]
        return np.concatenate([mean for mean, _ in parts]), np.concatenate([quantiles for _, quantiles in parts])

    def _predict(self, block: Block, at: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(at, min(at + self._batch_size, len(block)))
        padded = np.resize(rows, self._batch_size)  # always one shape, so that the network is traced once
        inputs = {
            name: self._tf.constant(getattr(block, name)[padded])
            for name in ("quantity", "observed", "past", "known", "static")
        }
        inputs |= {"plan": self._tf.ones(self._batch_size), "calendar": self._calendar}
        quantiles, mean = self._forward(inputs, self._last)
        return mean.numpy()[: len(rows), 0], quantiles.numpy()[: len(rows), 0]
