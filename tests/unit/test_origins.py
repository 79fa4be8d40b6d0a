"""Rolling origins: where they lie, and that no model forecasts from an origin it was trained past."""

from datetime import date, timedelta

import pytest

from forecasting.origins import backtest_origins, trained_until, training_ends

LAST = date(2024, 3, 31)


@pytest.mark.parametrize(
    ("grain", "horizon", "last", "origin"),
    [
        ("day", 4, LAST, date(2024, 3, 27)),
        ("week", 2, date(2024, 3, 25), date(2024, 3, 11)),
        ("month", 2, date(2024, 3, 1), date(2024, 1, 1)),
    ],
)
def test_the_last_origin_lies_a_horizon_before_the_last_period(make_config, grain, horizon, last, origin):
    config = make_config(f"series.grain={grain}", f"forecast.horizon={horizon}")
    assert backtest_origins(last, config) == training_ends(last, config) == [origin]


def test_origins_lie_a_step_apart_and_by_default_a_horizon(make_config):
    one, other = (
        make_config("forecast.horizon=4", "backtest.origins=3", f"backtest.step={step}") for step in ("null", 2)
    )
    assert backtest_origins(LAST, one) == [LAST - timedelta(back) for back in (12, 8, 4)]
    assert backtest_origins(LAST, other) == [LAST - timedelta(back) for back in (8, 6, 4)]


@pytest.mark.parametrize(("every", "ends"), [("null", [20]), (1, [20, 16, 12, 8, 4]), (2, [20, 12, 4]), (9, [20])])
def test_training_ends_no_later_than_the_origin_it_forecasts_from(make_config, every, ends):
    config = make_config("forecast.horizon=4", "backtest.origins=5", f"backtest.retrain_every={every}")
    assert training_ends(LAST, config) == [LAST - timedelta(back) for back in ends]
    for origin in backtest_origins(LAST, config):
        until = trained_until(origin, LAST, config)
        assert until in training_ends(LAST, config) and until <= origin
        assert not any(until < end <= origin for end in training_ends(LAST, config))
