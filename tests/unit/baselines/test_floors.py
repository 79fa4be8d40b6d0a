"""The vectorised floors against slow, obvious loops."""

import numpy as np
import pytest

from forecasting.baselines.floors import RECENT, recent_quantiles, row_quantiles, seasonal_naive, seasonal_scale

LEVELS = (0.05, 0.1, 0.5, 0.9, 0.975)
SEASON, HORIZON = 7, 16
LENGTHS = (0, 1, 2, 6, 7, 8, 13, 14, 29, 60)


def ragged(seed: int = 3) -> list[np.ndarray]:
    """Histories of all lengths that matter, with zeros and net returns in them."""
    random = np.random.default_rng(seed)
    return [random.poisson(1.5, length) - (random.random(length) < 0.05) * 2.0 for length in LENGTHS]


def padded(histories: list[np.ndarray]) -> np.ndarray:
    width = max(len(values) for values in histories)
    return np.array([np.r_[np.full(width - len(values), np.nan), values] for values in histories])


def naive_loop(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, quantiles = np.zeros(HORIZON), np.zeros((HORIZON, len(LEVELS)))
    if len(values) == 0:
        return mean, quantiles
    for ahead in range(HORIZON):
        point = values[len(values) - SEASON + ahead % SEASON] if len(values) >= SEASON else values.mean()
        differences = [values[i] - values[i - SEASON] for i in range(SEASON, len(values))]
        spread = differences or [value - values.mean() for value in values]
        mean[ahead] = max(0.0, point)
        quantiles[ahead] = [max(0.0, point + np.quantile(spread, level)) for level in LEVELS]
    return mean, quantiles


def recent_loop(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(values) == 0:
        return np.zeros(HORIZON), np.zeros((HORIZON, len(LEVELS)))
    recent = values[-RECENT:]
    quantiles = [max(0.0, np.quantile(recent, level)) for level in LEVELS]
    return np.full(HORIZON, max(0.0, recent.mean())), np.tile(quantiles, (HORIZON, 1))


@pytest.mark.parametrize(("floor", "loop"), [(seasonal_naive, naive_loop), (recent_quantiles, recent_loop)])
@pytest.mark.parametrize("longest", [0, 1, 6, 8, 60])
def test_a_batch_agrees_with_a_loop_whatever_its_longest_history(floor, loop, longest):
    histories = [values for values in ragged() if len(values) <= longest]
    mean, quantiles = floor(padded(histories), SEASON, HORIZON, LEVELS)
    for row, values in enumerate(histories):
        expected_mean, expected_quantiles = loop(values)
        np.testing.assert_allclose(mean[row], expected_mean, atol=1e-12)
        np.testing.assert_allclose(quantiles[row], expected_quantiles, atol=1e-12)


@pytest.mark.parametrize("floor", [seasonal_naive, recent_quantiles])
def test_quantiles_do_not_cross_nor_fall_below_zero(floor):
    mean, quantiles = floor(padded(ragged()), SEASON, HORIZON, LEVELS)
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert (quantiles >= 0).all()
    assert (mean >= 0).all()


def test_row_quantiles_agree_with_numpy_and_pass_over_missing_values():
    values = padded(ragged())
    found = row_quantiles(values, LEVELS)
    assert np.isnan(found[0]).all()
    for row in range(1, len(values)):
        np.testing.assert_allclose(found[row], np.nanquantile(values[row], LEVELS), atol=1e-12)


def test_seasonal_scale_is_the_mean_absolute_seasonal_difference():
    histories = ragged()
    found = seasonal_scale(padded(histories), SEASON)
    for row, values in enumerate(histories):
        differences = [abs(values[i] - values[i - SEASON]) for i in range(SEASON, len(values))]
        assert found[row] == pytest.approx(np.mean(differences) if differences else 0.0)
