"""What training lowers: pinball loss on scaled demand, and a squared error for the mean."""

from __future__ import annotations

import tensorflow as tf

MEAN_WEIGHT = 0.1  # weight of the mean's squared error beside the quantiles' pinball loss


def pinball(actual: tf.Tensor, quantiles: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Pinball loss (Koenker and Bassett 1978), summed over levels.

    Args:
        actual: [...]; quantiles: [..., Q]; levels: [Q].
    """
    error = actual[..., None] - quantiles
    return tf.reduce_sum(tf.maximum(levels * error, (levels - 1.0) * error), axis=-1)


def training_loss(
    actual: tf.Tensor, counts: tf.Tensor, quantiles: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor, levels: tf.Tensor
) -> tf.Tensor:
    """Weighted mean over the days that count.

    Every error is measured in scales and weighted by the root of the scale: between counting each series the same and
    counting each unit the same.

    Args:
        actual, counts, mean: [B, O, H]; counts is 1 where a day teaches and 0 where it does not. actual in units,
        quantiles [B, O, H, Q] and mean in scales; scale: [B, O, 1].
    """
    scaled = actual / scale
    weight = counts * tf.sqrt(scale)
    per_day = pinball(scaled, quantiles, levels) / tf.cast(tf.size(levels), tf.float32)
    per_day += MEAN_WEIGHT * tf.square(scaled - mean)
    return tf.reduce_sum(weight * per_day) / tf.maximum(tf.reduce_sum(weight), 1e-6)
