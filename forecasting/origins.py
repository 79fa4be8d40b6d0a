"""The origins that forecasts are made from, and up to which periods the models that do so are trained."""

from __future__ import annotations

from datetime import date

from forecasting.config import Config
from forecasting.errors import ConfigError
from forecasting.periods import shift


def backtest_origins(last_period: date, config: Config) -> list[date]:
    """Last periods that the forecasts of a backtest know, in order: the last one lies a horizon before the last period of the
    data, each other one `backtest.step` before the next."""
    rolling, horizon = config.backtest, config.forecast.horizon
    step = rolling.step or horizon
    back = [horizon + step * number for number in reversed(range(rolling.origins))]
    return [shift(last_period, -periods, config.series.grain) for periods in back]


def training_ends(last_period: date, config: Config) -> list[date]:
    """Last periods that training may see, in order: the first origin, and every `backtest.retrain_every`-th after it."""
    origins = backtest_origins(last_period, config)
    return origins[:: config.backtest.retrain_every or len(origins)]


def scoring_origins(last_period: date, config: Config) -> list[date]:
    """Last periods that forecasts know, in order: the last one is that of the data, each other one `scoring.step` before the next."""
    back = [config.scoring.step * number for number in reversed(range(config.scoring.origins))]
    return [shift(last_period, -periods, config.series.grain) for periods in back]


def trained_until(origin: date, last_period: date, config: Config) -> date:
    """The end of training of the model that forecasts from an origin: the newest one that is no later.

    Raises:
        ConfigError: all models of these settings are trained with later periods.
    """
    ends = training_ends(last_period, config)
    if origin < ends[0]:
        raise ConfigError(
            f"scoring.origins: expected origins from {ends[0]} on, the end of training of the first model, came {origin}. Train one "
            "that ends before: a backtest of more origins does, with --set backtest.origins=N --set backtest.step=PERIODS."
        )
    return max(end for end in ends if end <= origin)
