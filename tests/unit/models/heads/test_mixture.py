"""The mixture against an obvious loop in double precision."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, log_softmax, softplus

from forecasting.models.heads.amounts import Measure, smallest
from forecasting.models.heads.mixture import NARROWEST, LogisticMixture

COMPONENTS, LEVELS = 3, np.arange(1, 10) / 10
HEAD = LogisticMixture(COMPONENTS)
SCALES = np.array([0.05, 0.4, 2.0, 30.0, 900.0], np.float32)


@pytest.fixture(scope="module")
def out() -> np.ndarray:
    """Free numbers of five days, none of them like another."""
    return np.random.default_rng(7).normal(0, 1.0, (len(SCALES), 3 * COMPONENTS)).astype(np.float32)


def not_exceeded(out: np.ndarray, scale: float, amount: np.ndarray) -> np.ndarray:
    """Probability that demand is at most `amount`, by the definition."""
    weight, centre, width = np.split(out.astype(np.float64), 3)
    centre, width = centre + np.linspace(-0.5, 1.5, COMPONENTS), softplus(width) + NARROWEST
    share = np.exp(log_softmax(weight))
    return (share * expit((np.arcsinh(np.asarray(amount)[:, None] / scale) - centre) / width)).sum(axis=1)


def told(out, actual, censored, scale):
    """Logarithms of the probabilities of whole amounts."""
    actual = tf.constant(actual, tf.float32)
    measure = Measure(scale, tf.ones_like(actual))
    return -HEAD.surprise(tf.convert_to_tensor(out), actual, censored * tf.ones_like(actual), measure)


def quantiles_of(*outs, unit=None):
    unit = np.ones(len(SCALES), np.float32) if unit is None else unit
    outs = [tf.constant(out) for out in outs]
    return HEAD.quantiles(
        outs, Measure(tf.constant(SCALES), tf.constant(unit)), tf.constant(LEVELS, tf.float32)
    ).numpy()


def test_of_a_day_out_of_stock_all_that_is_no_less_counts(out):
    for row, scale in zip(out[:4], SCALES[:4], strict=True):
        amounts = np.arange(0, 60)
        found = np.exp(told(np.tile(row, (60, 1)), amounts, 1.0, np.full(60, scale, np.float32)))
        expected = 1 - np.concatenate([[0.0], not_exceeded(row, scale, amounts[:-1] + 0.5)])
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-6)


def test_probabilities_of_whole_amounts_are_those_of_the_definition_and_sum_to_one(out):
    for row, scale in zip(out[:4], SCALES[:4], strict=True):
        amounts = np.arange(0, 60)
        shape = np.ones(len(amounts), np.float32)
        found = np.exp(told(np.tile(row, (60, 1)), amounts, 0.0, scale * shape))
        upper = not_exceeded(row, scale, amounts + 0.5)
        np.testing.assert_allclose(found, np.diff(upper, prepend=0.0), rtol=2e-3, atol=2e-6)
        assert found.sum() == pytest.approx(upper[-1], abs=1e-4)


def test_quantiles_are_the_smallest_whole_amounts_that_reach_the_level(out):
    found = quantiles_of(out)
    for row, scale, own in zip(out, SCALES, found, strict=True):
        reached = not_exceeded(row, scale, np.arange(0, 200_000) + 0.5)
        expected = np.searchsorted(reached, LEVELS)
        near = np.abs(reached[expected][:, None] - LEVELS[:, None]).min(axis=1) < 1e-5  # may fall on either side
        assert np.all((own == expected) | near)
        assert np.all(np.diff(own) >= 0) and np.all(own >= 0)


def test_members_that_weigh_the_same_are_mixed_by_their_probabilities(out):
    other = -out[::-1]
    found = quantiles_of(out, other)
    amounts = np.arange(0, 200_000) + 0.5
    for one, two, scale, own in zip(out, other, SCALES, found, strict=True):
        reached = (not_exceeded(one, scale, amounts) + not_exceeded(two, scale, amounts)) / 2
        expected = np.searchsorted(reached, LEVELS)
        near = np.abs(reached[expected][:, None] - LEVELS[:, None]).min(axis=1) < 1e-5
        assert np.all((own == expected) | near)


def test_amounts_that_are_no_whole_units_are_told_apart_and_zero_keeps_its_mass(out):
    unit = smallest(np.zeros(len(SCALES), np.float32), SCALES).numpy()
    found = quantiles_of(out, unit=unit)
    for row, scale, least, own in zip(out, SCALES, unit, found, strict=True):
        none = not_exceeded(row, scale, np.array([least / 2]))[0]
        assert np.array_equal(own == 0, none + 1e-5 >= LEVELS)
        sold = own > 0
        np.testing.assert_allclose(not_exceeded(row, scale, own[sold]), LEVELS[sold], atol=1e-4)


@pytest.mark.parametrize("censored", [0.0, 1.0])
def test_what_is_all_but_impossible_has_a_finite_gradient(out, censored):
    variable = tf.Variable(np.tile(out[:1], (3, 1)))
    scale = tf.constant([0.05, 0.05, 900.0])
    with tf.GradientTape() as tape:
        loss = told(variable, [0.0, 5e3, 1e6], censored, scale)
    assert np.all(np.isfinite(loss)) and np.all(np.isfinite(tape.gradient(loss, variable)))
