"""The adjustments against the textbook's formula of minimum trace."""

import numpy as np
import pytest
from scipy.sparse import csc_matrix

from forecasting.hierarchy.solve import multipliers


@pytest.mark.parametrize("seed", range(5))
def test_series_and_nodes_are_those_of_minimum_trace(seed):
    random = np.random.default_rng(seed)
    series, horizon = 12, 4
    groups = random.integers(0, 3, series), random.integers(0, 4, series)
    holds = np.vstack([np.ones(series), *(np.eye(k)[group].T for k, group in zip((3, 4), groups, strict=True))])
    holds = holds[holds.any(axis=1)]
    own, variance = random.gamma(2.0, 2.0, series), random.gamma(2.0, 5.0, len(holds))
    forecasts, nodes = random.gamma(2.0, 3.0, (series, horizon)), random.gamma(2.0, 20.0, (len(holds), horizon))
    weights = multipliers(csc_matrix(holds * own @ holds.T), variance, nodes - holds @ forecasts)
    found = forecasts + own[:, None] * (holds.T @ weights)
    # Wickramasuriya, Athanasopoulos & Hyndman 2019: S (S' W^-1 S)^-1 S' W^-1 y, nodes first.
    sums, precision = np.vstack([holds, np.eye(series)]), np.diag(1 / np.concatenate([variance, own]))
    expected = np.linalg.solve(sums.T @ precision @ sums, sums.T @ precision @ np.vstack([nodes, forecasts]))
    assert found == pytest.approx(expected)


def test_nodes_whose_series_never_vary_do_not_stop_it():
    found = multipliers(csc_matrix(np.zeros((2, 2))), np.zeros(2), np.array([[0.0], [0.0]]))
    assert found == pytest.approx(np.zeros((2, 1)))
