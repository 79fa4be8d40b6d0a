"""A model ready to score: compiled once for one batch shape, fed with padded batches."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from forecasting.models.artifact import load_model
from forecasting.models.batches import Block, network_input, to_block
from forecasting.models.shared import SharedRows


class Predictor:
    """Scores series from one forecast origin with one model."""

    def __init__(self, artifact: bytes, rows: SharedRows, origin: int, batch_size: int, xla: bool = False) -> None:
        import tensorflow as tf

        self.model, self.spec, self._shared = load_model(artifact, rows)
        self._tf, self._origin, self._batch_size = tf, origin, batch_size
        self._last = np.array([self.spec.patches - 1], np.int32)
        self._forward = tf.function(self.model.call, autograph=False, jit_compile=xla)

    def predict(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """Forecasts of the rows of `batch` (columns `batches.sequence_columns`).

        Returns:
            mean [rows, H] and quantiles [rows, H, Q], in units.
        """
        block = to_block(batch, self.spec, self._shared, self._origin, self.spec.context)
        parts = [self._predict(block, at) for at in range(0, len(block), self._batch_size)]
        return np.concatenate([mean for mean, _ in parts]), np.concatenate([quantiles for _, quantiles in parts])

    def _predict(self, block: Block, at: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(at, min(at + self._batch_size, len(block)))
        padded = np.resize(rows, self._batch_size)  # always one shape, so that the network is traced once
        first = self._origin - self.spec.context + 1
        inputs = network_input(block, padded, 0, self._last, self.spec, self._shared, first)
        inputs = {name: self._tf.constant(value) for name, value in inputs.items()}
        quantiles, mean = self._forward(inputs, self._tf.constant(self._last))
        return mean.numpy()[: len(rows), 0], quantiles.numpy()[: len(rows), 0]
