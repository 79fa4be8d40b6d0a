"""The page: contents, plots and words put into one HTML text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from forecasting.config import Config
from forecasting.evaluation.metrics import coverage_name, outermost_interval
from forecasting.periods import shift
from forecasting.report import figures, wording
from forecasting.report.contents import Accuracy, Contents

FILE = "report.html"
FLOOR = "seasonal_naive"  # the model that the others are compared with


def render(contents: Contents, config: Config) -> str:
    """The whole page, self-contained: it loads nothing."""
    environment = Environment(
        loader=PackageLoader("forecasting.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _filters()
    levels, columns = config.forecast.quantiles, config.forecast.quantile_columns
    found, accuracy = contents.forecasts, contents.accuracy
    ahead = found.per_period if found else []
    since = min((row["period_start"] for series in contents.fans for row in series.history), default=None)
    return environment.get_template(f"{FILE}.j2").render(
        contents=contents,
        config=config,
        summary=wording.summary(contents, config.series.grain),
        forecast_span=_span([row["target_date"] for row in ahead], config) if found else None,
        held_out_span=_held_out(accuracy, config) if accuracy else None,
        band=_band(config),
        total_demand=figures.total_demand(contents.demand, found.per_period if found else [])
        if contents.demand
        else None,
        metrics=_metric_rows(accuracy, config) if accuracy else [],
        calibration=figures.calibration(accuracy, levels) if accuracy else None,
        fans=[(series, figures.fan(series, columns, levels, found.origin, since)) for series in contents.fans],
        stages=[row | {"figures": wording.stage_figures(json.loads(row["figures"]))} for row in contents.stages],
        stage_runs={row["run_id"] for row in contents.stages},
    )


def _filters() -> dict[str, Callable[..., str]]:
    names = ("count", "units", "share", "day", "duration", "model_name")
    return {name: getattr(wording, name) for name in names}


def _span(targets: Sequence[date], config: Config) -> str:
    """First to last day of periods."""
    return wording.span(targets[0], shift(targets[-1], 1, config.series.grain) - timedelta(1))


def _held_out(accuracy: Accuracy, config: Config) -> str:
    """The held-out periods: `28 days from 4 December 2017`."""
    first = shift(accuracy.origin, 1, config.series.grain)
    return f"{wording.periods(config.forecast.horizon, config.series.grain)} from {wording.day(first)}"


def _band(config: Config) -> dict[str, Any] | None:
    """The widest band between two mirrored levels: its ends and its nominal share."""
    places = outermost_interval(config.forecast.quantiles)
    if places is None or places[0] == places[1]:
        return None
    low, high = (config.forecast.quantiles[place] for place in places)
    return {"low": f"{100 * low:g} %", "high": f"{100 * high:g} %", "share": high - low}


def _widest_coverage(config: Config) -> str | None:
    """Name of the metric for the band of `_band`, if there is one."""
    places = outermost_interval(config.forecast.quantiles)
    return coverage_name(config.forecast.quantiles, *places) if places else None


def _metric_rows(accuracy: Accuracy, config: Config) -> list[dict[str, Any]]:
    """One row per metric that was measured, one cell per model: value, words against the floor, and their class."""
    lines = []
    for metric in wording.METRICS:
        key = _widest_coverage(config) if metric.key == wording.COVERAGE else metric.key
        values = {model: accuracy.values.get((model, key)) for model in accuracy.models}
        if all(value is None for value in values.values()):
            continue
        floor = values.get(FLOOR) if metric.lower_is_better else None
        cells = []
        for model, value in values.items():
            compared = ("", "") if model == FLOOR else wording.against(value, floor)
            cells.append((wording.metric_value(metric.key, value), *compared))
        meaning = wording.metric_meaning(metric, config.series.grain, _band(config))
        lines.append({"name": metric.name, "symbol": metric.symbol, "meaning": meaning, "cells": cells})
    return lines
