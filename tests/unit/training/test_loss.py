"""The loss of training against its definitions."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import xlogy

from forecasting.models.heads import Measure
from forecasting.models.loss import MEAN_WEIGHT, training_loss
from forecasting.models.network import Demand

SCALE = np.array([[[0.5, 2.0, 40.0]]], np.float32)
ACTUAL = np.array([[[0.0, 3.0, 35.0]]], np.float32)
MEAN = np.array([[[0.3, 2.0, 50.0]]], np.float32)


class Silent:
    """A head that is never surprised."""

    def surprise(self, out, actual, censored, measure):
        return tf.zeros_like(actual)


def of_the_mean(power, mean=MEAN, actual=ACTUAL, scale=SCALE, counts=None, censored=None):
    counts = np.ones_like(actual) if counts is None else counts
    censored = np.zeros_like(actual) if censored is None else censored
    demand = Demand(tf.zeros((*actual.shape, 1)), tf.constant(mean), Measure(tf.constant(scale), tf.ones_like(scale)))
    return float(training_loss(actual, counts, censored, demand, Silent(), power)) / MEAN_WEIGHT


@pytest.mark.parametrize("power", [1.0, 1.3, 1.7])
def test_the_mean_that_costs_least_is_the_demand_and_costs_rise_as_the_deviance(power):
    """Half the unit deviance of Tweedie's family (Jorgensen 1987) between two means is what the loss differs by."""

    def half_deviance(y, m):
        if power == 1.0:
            return xlogy(y, y) - xlogy(y, m) - y + m
        a, b = 1 - power, 2 - power
        return y**b / (a * b) - y * m**a / a + m**b / b

    total = (SCALE.astype(np.float64) ** (2 - power)).sum()
    differs = of_the_mean(power, MEAN * 1.5) - of_the_mean(power)
    y = ACTUAL.astype(np.float64)
    expected = (half_deviance(y, MEAN * 1.5) - half_deviance(y, MEAN)).sum() / total
    assert differs == pytest.approx(expected, rel=1e-4)
    near = np.maximum(ACTUAL, 1e-3)
    assert of_the_mean(power, near) < min(of_the_mean(power, near * 1.1), of_the_mean(power, near * 0.9))


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_what_a_unit_is_does_not_change_which_mean_is_better(power):
    """Told in hundredths, every difference between two forecasts stays what it was."""
    in_units = of_the_mean(power, MEAN * 1.5) - of_the_mean(power)
    cents = {"actual": ACTUAL * 100, "scale": SCALE * 100}
    in_cents = of_the_mean(power, MEAN * 150, **cents) - of_the_mean(power, MEAN * 100, **cents)
    assert in_cents == pytest.approx(in_units, rel=1e-3)


def test_days_that_do_not_count_teach_nothing_and_stock_outs_only_that_the_mean_is_too_low():
    counts = np.array([[[1.0, 1.0, 0.0]]], np.float32)
    other = MEAN.copy()
    other[..., 2] = 9.0
    assert of_the_mean(1.0, counts=counts) == of_the_mean(1.0, other, counts=counts)
    censored = np.ones_like(ACTUAL)
    high = np.maximum(ACTUAL, 1.0) * 2
    assert of_the_mean(1.0, high, censored=censored) == of_the_mean(1.0, high * 2, censored=censored) == 0.0
    low = np.maximum(ACTUAL, 1.0) * 0.5
    assert of_the_mean(1.0, low, censored=censored) != of_the_mean(1.0, low * 0.5, censored=censored)
