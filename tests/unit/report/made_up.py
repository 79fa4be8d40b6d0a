"""Contents of a report, made up: nine models and four origins."""

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np

from forecasting.config import Config
from forecasting.report.accuracy import Accuracy
from forecasting.report.contents import Contents, Forecasts
from forecasting.report.hard import Course, Hardest, HardSeries
from forecasting.report.training import Training

MODELS = (
    "transformer",
    "lstm",
    "seasonal_naive",
    "recent_quantiles",
    "lagged_regression",
    "structural_regression",
    "auto_ets",
    "croston_sba",
    "lightgbm",
)
ORIGIN = date(2017, 12, 31)
ORIGINS = tuple(ORIGIN - timedelta(28 * back) for back in (4, 3, 2, 1))


def accuracy(config: Config) -> Accuracy:
    """Nine models, each a little worse than the one before it, but seasonal naive."""
    level = {model: 0.60 + 0.012 * place for place, model in enumerate(MODELS)} | {"seasonal_naive": 0.83}
    by_origin = {
        (model, origin): level[model] + 0.03 * math.sin(number + 0.3 * place)
        for place, model in enumerate(MODELS)
        for number, origin in enumerate(ORIGINS)
    }
    values, spread = {}, {}
    for model in MODELS:
        told = [by_origin[model, origin] for origin in ORIGINS]
        for metric, factor in {"wql": 1, "wape": 1.4, "mase": 1.3, "rmse": 4, "mse": 16, "bias": 0.1}.items():
            values[model, metric] = factor * sum(told) / len(told)
            spread[model, metric] = factor * min(told), factor * max(told)
        values[model, "coverage_80"] = 1.3 * level[model]
        spread[model, "coverage_80"] = (0.75, 0.84)
        for number, quantile in enumerate(config.forecast.quantiles):
            values[model, f"below_{quantile:g}"] = quantile - 0.08 + 0.2 * (level[model] - 0.6) * (number - 3)
            values[model, f"at_or_below_{quantile:g}"] = min(1.0, quantile + 0.06)
    return Accuracy(ORIGINS, "model1", MODELS, 2893, values, spread, by_origin, comparisons())


def comparisons() -> list[dict]:
    """Rows of `model_comparisons`: better, may be chance, worse, untold."""
    gains = {model: 0.02 * place for place, model in enumerate(MODELS)} | {"lightgbm": -0.031, "lstm": 0.004}
    told = [
        {"model": MODELS[0], "against": model, "gain": gain, "gain_low": gain - 0.013, "gain_high": gain + 0.013}
        for model, gain in gains.items()
        if model != MODELS[0]
    ]
    told[4] |= {"gain_low": None, "gain_high": None}
    return [row | {"origins": 4, "series": 2893, "better_series": 0.5 + row["gain"]} for row in told]


def training() -> Training:
    """Loss that falls and then rises a little."""
    steps = range(100, 2600, 100)
    history = [{"step": s, "wql": 0.6 + 0.5 / (s / 100) + 4e-5 * max(0, s - 1800), "seconds": 0.17 * s} for s in steps]
    return Training("model1", 2500, 425.0, history)


def hardest() -> Hardest:
    """One young series, one that stopped, one of peaks, and one that nothing is known of."""
    regular = np.tile([3.0, 2, 4, 3, 5, 9, 8], 20)
    peak = np.ones(28)
    peak[[3, 4, 11]] = 22
    calm = np.zeros(28, bool)
    courses = {
        "KOMBUCHA GINGER 12 FL OZ": Course(ORIGINS[-1], "day", regular[:21], 3 * regular[:28], calm),
        "FLUID MILK WHITE ONLY": Course(ORIGINS[-1], "day", regular, np.r_[regular[:9], np.zeros(19)], calm),
        "COCKTAIL SHRIMP": Course(ORIGINS[-1], "day", np.ones(140), peak, calm),
        "BANANAS": Course(ORIGINS[-1], "day", regular, regular[:28] * 1.3, calm | (np.arange(28) < 7)),
        "GREETING CARDS": None,
    }
    series = [
        HardSeries(str(81912 + place), "ALL", name, "GROCERY", 81.0 + place, 34.2, 210.3 - place, 160.2, course)
        for place, (name, course) in enumerate(courses.items())
    ]
    return Hardest(ORIGINS[-1], MODELS[0], "recent_quantiles", series)


def contents(config: Config) -> Contents:
    """A report with all that several models and origins bring, and nothing else."""
    ahead = [{"target_date": ORIGIN + timedelta(day), "mean": 2.5} for day in range(1, 29)]
    why = "over 112 held-out periods its loss was 14 % below that of transformer (p 0.012)"
    methods = [
        {"method": "transformer", "series": 2810, "units": 81000.2, "reasons": []},
        {"method": "recent_quantiles", "series": 83, "units": 1213.7, "reasons": [why, why.replace("14", "9")]},
        {"method": "closed", "series": 2893, "units": 0.0, "reasons": ["closed by the calendar: christmas"]},
    ]
    return Contents(
        run_id="small",
        created_at=datetime(2018, 1, 1, 6, 15, tzinfo=UTC),
        quality=None,
        rules=[],
        demand=None,
        forecasts=Forecasts(ORIGIN, "data1", "model1", 2893, ahead, None, methods),
        accuracy=accuracy(config),
        training=training(),
        hardest=hardest(),
        fans=[],
        orders=None,
        stages=[],
    )
