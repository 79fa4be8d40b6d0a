"""Quantiles without a distribution: the lowest level, and how far each next one lies above it (Gasthaus et al. 2019; Park et al.
2022), so that they cannot cross. Trained by the pinball loss.

Shapes: [...] stands for series, origins and days ahead; Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from forecasting.models.heads.amounts import Measure, sellable

LOWEST, APART = (
    0.1,
    -1.5,
)  # asinh(units / scale) of the lowest level at zero, and what makes the others lie near the scale


@dataclass(frozen=True)
class Quantiles:
    """See `heads.Head`. It knows no other levels than those it was trained for."""

    levels: tuple[float, ...]

    @property
    def numbers(self) -> int:
        """One a level."""
        return len(self.levels)

    def surprise(self, out: tf.Tensor, actual: tf.Tensor, censored: tf.Tensor, measure: Measure) -> tf.Tensor:
        """Twice the pinball loss (Koenker & Bassett 1978) against the scale, of all levels on average; what was sold out of stock
        tells only that quantiles below it are too low."""
        levels = tf.constant(self.levels, out.dtype)
        error = (actual[..., None] - self._amounts(out, measure)) / measure.scale[..., None]
        too_low = levels * tf.maximum(error, 0.0)
        too_high = tf.where(censored[..., None] > 0, 0.0, (1.0 - levels) * tf.maximum(-error, 0.0))
        return 2.0 * tf.reduce_mean(too_low + too_high, axis=-1)

    def quantiles(self, outs: Sequence[tf.Tensor], measure: Measure, levels: tf.Tensor) -> tf.Tensor:
        """The members' quantiles, averaged level by level (Vincent 1912)."""
        amounts = [self._amounts(out, measure) for out in outs]
        return sellable(tf.add_n(amounts) / len(amounts), measure.unit[..., None])

    @staticmethod
    def _amounts(out: tf.Tensor, measure: Measure) -> tf.Tensor:
        lowest, above = out[..., :1] + LOWEST, tf.nn.softplus(out[..., 1:] + APART)
        return tf.sinh(tf.cumsum(tf.concat([lowest, above], axis=-1), axis=-1)) * measure.scale[..., None]
