"""The series that the scoring model found hardest in the newest backtest, and what happened to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.config import FLOORS, Config
from forecasting.evaluation.metrics import total_pinball
from forecasting.lake import Lake, rows
from forecasting.periods import position
from forecasting.report.reading import SERIES, Rows, item_names, named, of_series

SHOWN = 10
_ARRAYS = ("first_period", "quantity", "observed", "promotion")


@dataclass(frozen=True)
class Course:
    """Demand of one series around the origin of a backtest: units per period, NaN where demand could not be seen.

    Args:
        before: periods from the series' first to the origin; none for a series that began later.
        window: periods after the origin, NaN also before the series' first period.
        promoted: whether there was a promotion in each period of the window.
    """

    origin: date
    grain: str
    before: np.ndarray
    window: np.ndarray
    promoted: np.ndarray


@dataclass(frozen=True)
class HardSeries:
    """One series. Losses are pinball losses in units, over all levels and periods; without a floor one is None."""

    item_id: str
    location_id: str
    name: str
    category: str | None
    came: float
    expected: float
    model_loss: float
    floor_loss: float | None
    course: Course | None  # None where the series is not known any more


@dataclass(frozen=True)
class Hardest:
    """The hardest series of one origin, hardest first: by loss less that of the floor, or by loss alone."""

    origin: date
    model: str
    floor: str | None
    series: list[HardSeries]


def read_hardest(lake: Lake, config: Config) -> Hardest | None:
    """The hardest series of the newest origin from which the scoring model forecast; None without such forecasts."""
    if not lake.exists("backtest_forecasts"):
        return None
    written, model = lake.read("backtest_forecasts"), config.scoring.model
    newest = written.where(F.col("model") == model).agg(F.max("forecast_origin").alias("origin")).first()["origin"]
    if newest is None:
        return None
    forecasts = written.where(F.col("forecast_origin") == F.lit(newest))
    floor = _floor({row["model"] for row in rows(forecasts.select("model").distinct())}, config)
    chosen = rows(choose_hardest(forecasts, model, floor, config))
    names = item_names(lake, [row["item_id"] for row in chosen])
    courses = _courses(lake, config, newest, chosen)
    found = [HardSeries(**row, **named(row, names), course=courses.get(_key(row))) for row in chosen]
    return Hardest(newest, model, floor, found)


def choose_hardest(forecasts: DataFrame, model: str, floor: str | None, config: Config) -> DataFrame:
    """The SHOWN series on which a model loses most against a floor, and only those on which it does; without a floor
    those with the largest loss.

    Args:
        forecasts: `backtest_forecasts` of one origin.

    Returns:
        `item_id`, `location_id`, `came` and `expected` units, `model_loss`, `floor_loss`; hardest first.
    """
    loss = total_pinball(config.forecast)
    totals = forecasts.groupBy(*SERIES).agg(
        _sum_of(model, F.col("actual")).alias("came"),
        _sum_of(model, F.col("mean")).alias("expected"),
        _sum_of(model, loss).alias("model_loss"),
        _sum_of(floor, loss).cast("double").alias("floor_loss"),
    )
    lost = F.col("model_loss") - F.coalesce("floor_loss", F.lit(0.0))
    return totals.where(lost > 0).orderBy(F.desc(lost), *SERIES).limit(SHOWN)


def _sum_of(model: str | None, value: Column) -> Column:
    return F.sum(F.when(F.col("model") == F.lit(model), value))


def _floor(models: set[str], config: Config) -> str | None:
    """The floor to hold the model against: scoring.fallback, else any that was compared."""
    wanted = (config.scoring.fallback, *sorted(FLOORS))
    return next((floor for floor in wanted if floor in models), None)


def _key(series: dict[str, Any]) -> tuple:
    return tuple(series[name] for name in SERIES)


def _courses(lake: Lake, config: Config, origin: date, chosen: Rows) -> dict[tuple, Course]:
    if not chosen or not lake.exists("sequences"):
        return {}
    found = of_series(lake.read("sequences"), chosen, _ARRAYS)
    return {key: course(row, config, origin) for key, (row,) in found.items()}


def course(sequence: dict[str, Any], config: Config, origin: date) -> Course:
    """What a row of `sequences` says of the periods before an origin and of the horizon after it."""
    grain, horizon = config.series.grain, config.forecast.horizon
    first, last = position(np.array([sequence["first_period"], origin], "datetime64[D]"), grain)
    known = int(last - first) + 1  # periods up to the origin; negative for a series that begins after it
    units = np.asarray(sequence["quantity"], np.float64)
    units = np.where(np.asarray(sequence["observed"]) == 1, units, np.nan)
    promotion = np.asarray(sequence["promotion"] or [], np.float64)
    window, promoted = (_after(values, known, horizon) for values in (units, promotion))
    return Course(origin, grain, units[: max(known, 0)], window, np.nan_to_num(promoted) > 0)


def _after(values: np.ndarray, known: int, horizon: int) -> np.ndarray:
    """The `horizon` values from place `known` on, NaN where there are none."""
    places = np.arange(known, known + horizon)
    lives = (places >= 0) & (places < len(values))
    window = np.full(horizon, np.nan)
    window[lives] = values[places[lives]]
    return window
