"""What training lowers: how unlikely the network held what came, and the deviance of its mean."""

from __future__ import annotations

import tensorflow as tf

from forecasting.models.distribution import log_probability
from forecasting.models.network import Demand

SURPRISE_WEIGHT = 0.1  # so that gradients are of a size that training.clip_norm is meant for
MEAN_WEIGHT = 0.1


def pinball(actual: tf.Tensor, quantiles: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Pinball loss (Koenker and Bassett 1978), summed over levels.

    Args:
        actual: [...]; quantiles: [..., Q]; levels: [Q].
    """
    error = actual[..., None] - quantiles
    return tf.reduce_sum(tf.maximum(levels * error, (levels - 1.0) * error), axis=-1)


def training_loss(actual: tf.Tensor, counts: tf.Tensor, censored: tf.Tensor, demand: Demand) -> tf.Tensor:
    """Surprise at what came, and how far the mean was off; each a weighted mean over the days that count.

    The distribution learns by the logarithm of the probability that it gave to what came, a day weighted by the root of its
    series' scale: between counting each series the same and counting each unit the same. The mean learns by Poisson deviance
    (its part that depends on the mean), which weighs units alike, so that means add up to the demand of all series; it is
    divided by the scale of them all, so that what a unit is (a piece, a cent) does not matter.

    What was sold out of stock is the least that was wanted (censored likelihood, Tobin 1958): the mean learns of it only where it
    lies below.

    Args:
        actual, counts, censored: [B, O, H]; counts is 1 where a day teaches and 0 where it does not, censored 1 where demand was no
            less than actual. actual in units, 0 or more.
    """
    weight = counts * tf.sqrt(demand.scale)
    surprise = -log_probability(demand.mixture, actual, censored, demand.scale, demand.unit)
    deviance = demand.mean - actual * tf.math.log(demand.mean)
    of_mean = counts * tf.where((censored > 0) & (demand.mean > actual), 0.0, 1.0)
    surprised = SURPRISE_WEIGHT * _mean(surprise, weight, weight)
    return surprised + MEAN_WEIGHT * _mean(deviance, of_mean, of_mean * demand.scale)


def _mean(loss: tf.Tensor, weight: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(weight * loss) / tf.maximum(tf.reduce_sum(total), 1e-6)
