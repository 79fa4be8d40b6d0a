"""The page: contents, plots and words put into one HTML text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from forecasting.config import Config
from forecasting.evaluation.comparison import SURE
from forecasting.evaluation.metrics import coverage_name, outermost_interval
from forecasting.periods import shift
from forecasting.report import figures, wording
from forecasting.report.accuracy import Accuracy
from forecasting.report.contents import Contents
from forecasting.report.reasons import reasons

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
    found, accuracy, training = contents.forecasts, contents.accuracy, contents.training
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
        over_origins=figures.over_origins(accuracy) if accuracy and len(accuracy.origins) > 1 else None,
        comparisons=_comparison_rows(accuracy) if accuracy else [],
        sure=SURE,
        calibration=figures.calibration(accuracy, levels) if accuracy else None,
        panels=figures.panel_columns(len(accuracy.models)) if accuracy else 0,
        trained=wording.training(training) if training else None,
        learning_curve=figures.learning_curve(training) if training and training.history else None,
        hardest=[(series, reasons(series.course)) for series in contents.hardest.series] if contents.hardest else [],
        fans=[(series, figures.fan(series, columns, levels, found.origin, since)) for series in contents.fans],
        stages=[row | {"figures": wording.stage_figures(json.loads(row["figures"]))} for row in contents.stages],
        stage_runs={row["run_id"] for row in contents.stages},
    )


def _filters() -> dict[str, Callable[..., str]]:
    names = ("count", "units", "share", "day", "duration", "model_name", "capital")
    return {name: getattr(wording, name) for name in names}


def _span(targets: Sequence[date], config: Config) -> str:
    """First to last day of periods."""
    return wording.span(targets[0], shift(targets[-1], 1, config.series.grain) - timedelta(1))


def _held_out(accuracy: Accuracy, config: Config) -> str:
    """The held-out periods: `the 28 days from 4 December 2017`, `4 windows of 28 days, from 11 September to ...`."""
    grain, horizon = config.series.grain, config.forecast.horizon
    window, count = wording.periods(horizon, grain), len(accuracy.origins)
    first, last = (shift(origin, 1, grain) for origin in (accuracy.origins[0], accuracy.origin))
    if count == 1:
        return f"the {window} from {wording.day(first)}"
    end = shift(last, horizon, grain) - timedelta(1)
    return f"{count} windows of {window}, from {wording.span(first, end)}"


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
    """One row per metric that was measured, one cell per model: value, words against the floor and their class, and of
    the first model how far the value spreads over origins."""
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
            ends = (
                accuracy.spread.get((model, key)) if model == accuracy.models[0] and len(accuracy.origins) > 1 else None
            )
            spread = wording.spread(metric.key, *ends) if ends else ""
            cells.append((wording.metric_value(metric.key, value), *compared, spread))
        meaning = wording.metric_meaning(metric, config.series.grain, _band(config))
        lines.append({"name": metric.name, "symbol": metric.symbol, "meaning": meaning, "cells": cells})
    return lines


def _comparison_rows(accuracy: Accuracy) -> list[dict[str, Any]]:
    """One row per other model, in the order of the models: the words, what they come to, and its class."""
    by_model = {row["against"]: row for row in accuracy.comparisons or []}
    lines = []
    for row in (by_model[model] for model in accuracy.models if model in by_model):
        ends = row["gain_low"], row["gain_high"]
        words, kind = wording.verdict(*ends)
        told = {"difference": wording.difference(row["gain"]), "interval": wording.interval(*ends)}
        lines.append(row | told | {"verdict": words, "class": kind})
    return lines
