"""Amounts of demand as heads tell them: on asinh(units / scale), where rare large sales are near, and in what can be sold.

Shapes: [...] stands for series, origins and days ahead; Q levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

RESOLUTION = 0.02  # share of the scale below which amounts that are no whole units are not told apart


class Measure(NamedTuple):
    """What a series is measured by, [...] each, in units: its scale, and the smallest difference that counts (`smallest`)."""

    scale: tf.Tensor
    unit: tf.Tensor


def smallest(whole: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Smallest difference in demand that counts: a unit for series sold in whole units, else RESOLUTION of the scale.

    Args:
        whole: 1 where all demand up to the origin was in whole units, else 0. scale: of the same shape.
    """
    return tf.where(whole > 0, 1.0, tf.minimum(RESOLUTION * scale, 0.5))


def squashed(amount: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """asinh(units / scale)."""
    return tf.math.asinh(amount / scale)


def sellable(amount: tf.Tensor, unit: tf.Tensor) -> tf.Tensor:
    """The nearest amount that can be sold: whole units, nothing rather than less than half the smallest; 0 or more."""
    whole = tf.math.ceil(amount / unit - 0.5) * unit
    return tf.maximum(tf.where(unit < 1.0, tf.where(amount < unit / 2, 0.0, amount), whole), 0.0)


def quantiles_of(
    not_exceeded: Callable[[tf.Tensor], tf.Tensor],
    between: tuple[tf.Tensor, tf.Tensor],
    halvings: int,
    measure: Measure,
    levels: tf.Tensor,
) -> tf.Tensor:
    """Smallest amount whose probability of not being exceeded reaches each level, units, [..., Q].

    Args:
        not_exceeded: of amounts on the scale of asinh, [..., Q]. between: bounds of the quantiles on that scale, [..., Q] each.
        halvings: of what lies between. levels: [Q].
    """
    low, high = between
    for _ in range(halvings):
        middle = (low + high) / 2
        reached = not_exceeded(middle) >= levels
        low, high = tf.where(reached, low, middle), tf.where(reached, middle, high)
    return sellable(tf.sinh(high) * measure.scale[..., None], measure.unit[..., None])
