"""The head of quantiles alone: its loss, its order, its members."""

import numpy as np
import tensorflow as tf

from forecasting.models.heads.amounts import Measure
from forecasting.models.heads.quantiles import Quantiles
from forecasting.models.loss import pinball

LEVELS = (0.1, 0.5, 0.9)
HEAD = Quantiles(LEVELS)
SCALES = np.array([0.4, 2.0, 30.0, 900.0], np.float32)
WHOLE = Measure(tf.constant(SCALES), tf.ones(len(SCALES)))
FINE = Measure(tf.constant(SCALES), tf.fill([len(SCALES)], 1e-3))
OUT = np.random.default_rng(7).normal(0, 1.0, (len(SCALES), len(LEVELS))).astype(np.float32)


def quantiles(*outs, measure=FINE):
    return HEAD.quantiles([tf.constant(out) for out in outs], measure, tf.constant(LEVELS)).numpy()


def surprise(out, actual, censored=0.0):
    return HEAD.surprise(tf.constant(out), tf.constant(actual), censored * tf.ones(len(SCALES)), FINE).numpy()


def test_quantiles_rise_and_are_whole_where_demand_is():
    for measure in (FINE, WHOLE):
        assert np.all(np.diff(quantiles(OUT, measure=measure)) >= 0)
    whole = quantiles(OUT, measure=WHOLE)
    assert np.array_equal(whole, np.round(whole)) and np.all(whole >= 0)
    np.testing.assert_allclose(whole, quantiles(OUT), atol=0.51)


def test_surprise_is_the_pinball_loss_against_the_scale():
    high = np.abs(OUT) + 1.0  # no quantile below zero, which would be told as zero
    for actual in (SCALES * 0.1, SCALES * 4.0):
        expected = 2 * pinball(tf.constant(actual), quantiles(high), tf.constant(LEVELS)) / len(LEVELS) / SCALES
        np.testing.assert_allclose(surprise(high, actual), expected, rtol=2e-3, atol=2e-3)


def test_out_of_stock_a_quantile_is_never_too_high():
    none, far = np.zeros(len(SCALES), np.float32), SCALES * 1e4
    assert np.all(surprise(np.abs(OUT), none, censored=1.0) == 0) and np.all(surprise(np.abs(OUT), none) > 0)
    np.testing.assert_allclose(surprise(OUT, far, censored=1.0), surprise(OUT, far), rtol=1e-6)


def test_members_are_averaged_level_by_level():
    high, other = np.abs(OUT) + 1.0, np.abs(OUT[::-1]) + 0.5
    np.testing.assert_allclose(quantiles(high, other), (quantiles(high) + quantiles(other)) / 2, rtol=1e-4)
