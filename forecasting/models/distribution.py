"""Demand of a day as a distribution: a mixture of logistic distributions over whole units, all of it in one forward pass.

The mixture lives on asinh(units / scale), where rare large sales are near; what it says of a number of units is the probability
between half a unit below and half a unit above (discretised logistic mixture, Salimans et al. 2017, PixelCNN++). So zero has a
probability of its own, quantiles of counts are counts, and they cannot cross. Fractions of a unit (weights, money) are told
apart as finely as RESOLUTION of the scale.

Shapes: [...] stands for series, origins and days ahead; C components, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

RESOLUTION = 0.02  # share of the scale below which amounts that are no whole units are not told apart
NARROWEST = 0.05  # width of a component, on the scale of asinh
FARTHEST = 12.0  # asinh(units / scale) of the largest amount that a quantile can be: 80,000 scales
HALVINGS = 22  # of the interval that holds a quantile, down to 6 millionths of asinh


class Mixture(NamedTuple):
    """Logarithm of the weights, centres and widths of the components, [..., C] each, on the scale of asinh."""

    weight: tf.Tensor
    centre: tf.Tensor
    width: tf.Tensor


def mixture(out: tf.Tensor, components: int) -> Mixture:
    """A mixture of C components from 3 C free numbers, [..., 3 C].

    At zero the centres lie side by side from below nothing sold to twice the scale.
    """
    weight, centre, width = tf.split(out, 3, axis=-1)
    apart = tf.linspace(-0.5, 1.5, components)
    return Mixture(tf.nn.log_softmax(weight), centre + tf.cast(apart, out.dtype), tf.nn.softplus(width) + NARROWEST)


def mixed(mixtures: Sequence[Mixture]) -> Mixture:
    """The mixture of mixtures that weigh the same (linear opinion pool, Stone 1961)."""
    weight, centre, width = (tf.concat(parts, axis=-1) for parts in zip(*mixtures, strict=True))
    return Mixture(weight - float(np.log(len(mixtures))), centre, width)


def log_probability(
    of: Mixture, actual: tf.Tensor, censored: tf.Tensor, scale: tf.Tensor, unit: tf.Tensor
) -> tf.Tensor:
    """Logarithm of the probability of what came, to within half a unit, [...]; where it was censored, of that or more.

    Args:
        actual: [...], units, 0 or more. censored: [...], 1 where demand was no less than `actual`.
        scale: [...], units. unit: [...], smallest difference that counts, see `units`.
    """
    weight, centre, width = of
    half = tf.maximum(unit, 0.01 * scale) / 2  # of a large amount one more or less says nothing, and costs precision
    above = (_axis(actual + half, scale)[..., None] - centre) / width
    below = (_axis(actual - half, scale)[..., None] - centre) / width
    # log(sigmoid(above) - sigmoid(below)), exact also where both are near 0, near 1 or near each other.
    between = -tf.nn.softplus(-above) - tf.nn.softplus(below) + tf.math.log(-tf.math.expm1(below - above) + 1e-12)
    none_sold = (actual < half)[..., None]
    exactly = tf.where(none_sold, -tf.nn.softplus(-above), between)
    at_least = tf.where(none_sold, 0.0, -tf.nn.softplus(below))
    return tf.reduce_logsumexp(weight + tf.where(censored[..., None] > 0, at_least, exactly), axis=-1)


def quantiles(of: Mixture, scale: tf.Tensor, unit: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Smallest amount whose probability of not being exceeded reaches each level, units, [..., Q]; rising, 0 or more.

    Args:
        scale, unit: [...]. levels: [Q].
    """
    weight, centre, width = (x[..., None, :] for x in of)
    share = tf.exp(weight)
    low = tf.broadcast_to(tf.constant(-FARTHEST), tf.concat([tf.shape(scale), tf.shape(levels)], axis=0))
    high = -low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        reached = tf.reduce_sum(share * tf.sigmoid((middle[..., None] - centre) / width), axis=-1) >= levels
        low, high = tf.where(reached, low, middle), tf.where(reached, middle, high)
    scale, unit = scale[..., None], unit[..., None]
    amount = tf.sinh(high) * scale
    whole = tf.math.ceil(amount / unit - 0.5) * unit
    return tf.maximum(tf.where(unit < 1.0, tf.where(amount < unit / 2, 0.0, amount), whole), 0.0)


def units(whole: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Smallest difference in demand that counts: a unit for series sold in whole units, else RESOLUTION of the scale.

    Args:
        whole: 1 where all demand up to the origin was in whole units, else 0. scale: of the same shape.
    """
    return tf.where(whole > 0, 1.0, tf.minimum(RESOLUTION * scale, 0.5))


def _axis(amount: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    return tf.math.asinh(amount / scale)
