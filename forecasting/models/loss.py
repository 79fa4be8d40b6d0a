"""What training lowers: how badly the network foretold what came, and the deviance of its mean."""

from __future__ import annotations

import tensorflow as tf

from forecasting.models.heads import Head
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


def training_loss(
    actual: tf.Tensor, counts: tf.Tensor, censored: tf.Tensor, demand: Demand, head: Head, power: float
) -> tf.Tensor:
    """Surprise at what came, and how far the mean was off; each a weighted mean over the days that count.

    The head learns by its surprise (of a distribution: minus the logarithm of the probability that it gave to what came), a day
    weighted by the root of its series' scale: between counting each series the same and counting each unit the same. The mean
    learns by the deviance of Tweedie's family (Jorgensen 1987), of which only what depends on the mean is taken. With power 1 that
    is Poisson's, which weighs units alike, so that means add up to the demand of all series. It is divided by the scale of them
    all, so that what a unit is (a piece, a cent) does not matter.

    What was sold out of stock is the least that was wanted (censored likelihood, Tobin 1958): the mean learns of it only where it
    lies below.

    Args:
        actual, counts, censored: [B, O, H]; counts is 1 where a day teaches and 0 where it does not, censored 1 where demand was no
            less than actual. actual in units, 0 or more.
        power: of the variance of demand in its mean, 1 to below 2.
    """
    scale = demand.measure.scale
    weight = counts * tf.sqrt(scale)
    surprise = head.surprise(demand.out, actual, censored, demand.measure)
    of_mean = counts * tf.where((censored > 0) & (demand.mean > actual), 0.0, 1.0)
    surprised = SURPRISE_WEIGHT * _mean(surprise, weight, weight)
    return surprised + MEAN_WEIGHT * _mean(
        _deviance(actual, demand.mean, power), of_mean, of_mean * scale ** (2.0 - power)
    )


def _deviance(actual: tf.Tensor, mean: tf.Tensor, power: float) -> tf.Tensor:
    """Half of Tweedie's deviance but for what does not depend on the mean."""
    if power == 1.0:
        return mean - actual * tf.math.log(mean)
    return mean ** (2.0 - power) / (2.0 - power) - actual * mean ** (1.0 - power) / (1.0 - power)


def _mean(loss: tf.Tensor, weight: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(weight * loss) / tf.maximum(tf.reduce_sum(total), 1e-6)
