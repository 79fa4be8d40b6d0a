"""A mixture of logistic distributions over whole units.

The mixture lives on asinh(units / scale); what it says of a number of units is the probability between half a unit below and half
a unit above (discretised logistic mixture, Salimans et al. 2017, PixelCNN++). So zero has a probability of its own, quantiles of
counts are counts, and they cannot cross. Fractions of a unit (weights, money) are told apart as finely as RESOLUTION of the scale.

Shapes: [...] stands for series, origins and days ahead; C components, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from forecasting.models.heads.amounts import Measure, quantiles_of, squashed

HALVINGS = 18  # of what lies between the components' quantiles, seldom more than 5 on the scale of asinh: down to 20 millionths
NARROWEST = 0.02  # width of a component, on the scale of asinh: of steady demand a deviation of 5 %


class Mixture(NamedTuple):
    """Logarithm of the weights, centres and widths of the components, [..., C] each, on the scale of asinh."""

    weight: tf.Tensor
    centre: tf.Tensor
    width: tf.Tensor


@dataclass(frozen=True)
class LogisticMixture:
    """See `heads.Head`."""

    components: int

    @property
    def numbers(self) -> int:
        """Weight, centre and width of each component."""
        return 3 * self.components

    def mixture(self, out: tf.Tensor) -> Mixture:
        """A mixture of C components from 3 C free numbers, [..., 3 C].

        At zero the centres lie side by side from below nothing sold to twice the scale.
        """
        weight, centre, width = tf.split(out, 3, axis=-1)
        apart = tf.linspace(-0.5, 1.5, self.components)
        return Mixture(tf.nn.log_softmax(weight), centre + tf.cast(apart, out.dtype), tf.nn.softplus(width) + NARROWEST)

    def surprise(self, out: tf.Tensor, actual: tf.Tensor, censored: tf.Tensor, measure: Measure) -> tf.Tensor:
        """Minus the logarithm of the probability of what came, to within half a unit; where it was censored, of that or more."""
        weight, centre, width = self.mixture(out)
        # Of a large amount one more or less says nothing, and costs precision.
        half = tf.maximum(measure.unit, 0.01 * measure.scale) / 2
        above = (squashed(actual + half, measure.scale)[..., None] - centre) / width
        below = (squashed(actual - half, measure.scale)[..., None] - centre) / width
        # log(sigmoid(above) - sigmoid(below)), exact also where both are near 0, near 1 or near each other.
        between = -tf.nn.softplus(-above) - tf.nn.softplus(below) + tf.math.log(-tf.math.expm1(below - above) + 1e-12)
        none_sold = (actual < half)[..., None]
        exactly = tf.where(none_sold, -tf.nn.softplus(-above), between)
        at_least = tf.where(none_sold, 0.0, -tf.nn.softplus(below))
        return -tf.reduce_logsumexp(weight + tf.where(censored[..., None] > 0, at_least, exactly), axis=-1)

    def quantiles(self, outs: Sequence[tf.Tensor], measure: Measure, levels: tf.Tensor) -> tf.Tensor:
        """Those of the mixture of the members' mixtures (linear opinion pool, Stone 1961)."""
        weight, centre, width = (
            tf.concat(parts, axis=-1)[..., None, :] for parts in zip(*map(self.mixture, outs), strict=True)
        )
        of_each = centre + width * tf.math.log(levels / (1.0 - levels))[:, None]  # [..., Q, C]
        between = tf.reduce_min(of_each, axis=-1), tf.reduce_max(of_each, axis=-1)
        # The logistic distribution function is (1 + tanh(x / 2)) / 2. One component at a time is twice as fast as all at once.
        half = tf.exp(weight) / len(outs) / 2.0
        parts = [tf.unstack(x, axis=-1) for x in (half, 0.5 / width, 0.5 * centre / width)]

        def not_exceeded(at: tf.Tensor) -> tf.Tensor:
            return 0.5 + tf.add_n([h * tf.tanh(at * slope - shift) for h, slope, shift in zip(*parts, strict=True)])

        return quantiles_of(not_exceeded, between, HALVINGS, measure, levels)
