"""The negative binomial head against scipy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.special import softplus

from forecasting.models.heads.amounts import Measure
from forecasting.models.heads.negative_binomial import LEAST_DISPERSION, NegativeBinomial

LEVELS = np.arange(1, 10) / 10
SCALES = np.array([0.05, 0.4, 2.0, 30.0, 900.0], np.float32)
HEAD = NegativeBinomial()
WHOLE = Measure(tf.constant(SCALES), tf.ones(len(SCALES)))


@pytest.fixture(scope="module")
def out() -> np.ndarray:
    return np.random.default_rng(7).normal(0, 1.0, (len(SCALES), 2)).astype(np.float32)


def known(out: np.ndarray):
    """The same distributions, by scipy."""
    mean = SCALES * np.exp(out[:, 0].astype(np.float64))
    size = 1 / (softplus(out[:, 1].astype(np.float64)) + LEAST_DISPERSION)
    return stats.nbinom(size, size / (size + mean))


def surprise(out, actual, censored):
    shape = np.ones(len(SCALES), np.float32)
    return HEAD.surprise(tf.constant(out), tf.constant(actual * shape), tf.constant(censored * shape), WHOLE).numpy()


@pytest.mark.parametrize("actual", [0, 1, 7, 80])
def test_surprise_is_minus_the_logarithm_of_the_probability(out, actual):
    np.testing.assert_allclose(surprise(out, actual, 0.0), -known(out).logpmf(actual), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("actual", [0, 1, 7])
def test_out_of_stock_all_that_is_no_less_counts(out, actual):
    expected = -np.log(known(out).sf(actual - 1) + 1e-12)
    np.testing.assert_allclose(surprise(out, actual, 1.0), expected, rtol=1e-3, atol=1e-3)


def test_quantiles_are_the_smallest_counts_that_reach_the_level(out):
    found = HEAD.quantiles([tf.constant(out)], WHOLE, tf.constant(LEVELS, tf.float32)).numpy()
    expected = np.stack([known(out).ppf(level) for level in LEVELS], axis=1)
    np.testing.assert_array_equal(found, expected)


def test_members_are_mixed_by_their_probabilities(out):
    other = -out[::-1].copy()
    found = HEAD.quantiles([tf.constant(out), tf.constant(other)], WHOLE, tf.constant(LEVELS, tf.float32)).numpy()
    counts = np.arange(0, 20_000)[:, None]
    reached = (known(out).cdf(counts) + known(other).cdf(counts)) / 2
    expected = np.stack([np.searchsorted(column, LEVELS) for column in reached.T])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("censored", [0.0, 1.0])
def test_what_is_all_but_impossible_has_a_finite_gradient(out, censored):
    variable = tf.Variable(np.tile(out[:1], (3, 1)))
    measure = Measure(tf.constant([0.05, 0.05, 900.0]), tf.ones(3))
    with tf.GradientTape() as tape:
        loss = HEAD.surprise(variable, tf.constant([0.0, 5e3, 1e6]), censored * tf.ones(3), measure)
    assert np.all(np.isfinite(loss)) and np.all(np.isfinite(tape.gradient(loss, variable)))
