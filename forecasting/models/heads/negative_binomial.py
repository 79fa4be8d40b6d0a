"""A negative binomial distribution of counts: its mean, and by how much its variance exceeds it (Salinas et al. 2020, DeepAR).

Only for demand in whole units: of fractions it takes the smooth continuation of its probabilities.

Shapes: [...] stands for series, origins and days ahead; Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from forecasting.models.heads.amounts import Measure, quantiles_of

MOST_CHANGE = 7.0  # logarithm of the most that the centre can differ from the scale
FARTHEST, HALVINGS = (
    12.0,
    22,
)  # asinh of the largest quantile, 80,000 scales; and how often what lies below it is halved
LEAST_DISPERSION = 1e-3  # variance = mean + dispersion mean^2


class NegativeBinomial:
    """See `heads.Head`."""

    numbers = 2  # centre and dispersion

    def surprise(self, out: tf.Tensor, actual: tf.Tensor, censored: tf.Tensor, measure: Measure) -> tf.Tensor:
        """Minus the logarithm of the probability of what came; where it was censored, of that or more.

        TensorFlow has no derivative of the latter by the dispersion: days out of stock move the centre alone.
        """
        mean, size = self._parameters(out, measure.scale)
        exactly = (
            tf.math.lgamma(actual + size)
            - tf.math.lgamma(size)
            - tf.math.lgamma(actual + 1.0)
            - size * tf.math.log1p(mean / size)
            + actual * (tf.math.log(mean) - tf.math.log(mean + size))
        )
        more = tf.maximum(actual, 1.0)
        more = tf.math.betainc(more, tf.stop_gradient(size), mean / (mean + size))  # P(X >= actual)
        at_least = tf.where(actual < 1.0, 0.0, tf.math.log(more + 1e-12))
        return -tf.where(censored > 0, at_least, exactly)

    def quantiles(self, outs: Sequence[tf.Tensor], measure: Measure, levels: tf.Tensor) -> tf.Tensor:
        """Those of the members' distributions, mixed with the same weights."""
        scale, unit = measure.scale[..., None], measure.unit[..., None]
        found = [
            (mean[..., None], size[..., None]) for mean, size in (self._parameters(o, measure.scale) for o in outs)
        ]

        def not_exceeded(at: tf.Tensor) -> tf.Tensor:
            amount = tf.sinh(at) * scale
            amount = tf.where(unit < 1.0, amount, tf.math.ceil(amount - 0.5))  # as `sellable` rounds
            up_to = tf.maximum(amount, 0.0)
            same = tf.ones_like(up_to)
            shares = [tf.math.betainc(size * same, up_to + 1.0, size / (size + mean) * same) for mean, size in found]
            return tf.where(amount < 0, 0.0, tf.add_n(shares) / len(shares))

        high = FARTHEST * tf.ones_like(scale * levels)
        return quantiles_of(not_exceeded, (-high, high), HALVINGS, measure, levels)

    @staticmethod
    def _parameters(out: tf.Tensor, scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean, and size: the reciprocal of the dispersion; [...] each."""
        mean = scale * tf.exp(tf.clip_by_value(out[..., 0], -MOST_CHANGE, MOST_CHANGE))
        return mean, 1.0 / (tf.nn.softplus(out[..., 1]) + LEAST_DISPERSION)
