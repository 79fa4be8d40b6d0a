"""The report's plots, each as an SVG picture in a data URI, so that the page needs no other file."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from scipy.optimize import isotonic_regression

from forecasting.report.accuracy import Accuracy
from forecasting.report.fans import Fan
from forecasting.report.training import Training
from forecasting.report.wording import model_name, short_day

INK, FAINT, GRID = "#1d2733", "#6b7785", "#e4e8ed"
AHEAD, HELD_OUT, OFF = "#1f6fb2", "#d98324", "#b3261e"
#: Of models other than the first (Tol, Colour schemes, 2021: "muted", which colour-blind readers can tell apart).
OTHERS = ("#cc6677", "#117733", "#ddaa33", "#332288", "#44aa99", "#882255", "#88ccee", "#999933", "#aa4499")
PANELS = 4  # beside each other, at most
_STYLE = {
    "svg.hashsalt": "report",  # the same picture gives the same bytes
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def bands(levels: Sequence[float]) -> list[tuple[int, int]]:
    """Places of each level below the median and of its mirror image, if it has one; widest band first."""
    places = {round(level, 9): place for place, level in enumerate(levels)}
    mirrored = ((place, places.get(round(1 - level, 9))) for place, level in enumerate(levels) if level < 0.5)
    return [(low, high) for low, high in mirrored if high is not None]


def total_demand(demand: list[dict[str, Any]], ahead: list[dict[str, Any]]) -> str:
    """Demand of all series per period, and what is expected."""
    with rc_context(_STYLE):
        figure, axes = _canvas(10, 2.7)
        axes.plot([r["period_start"] for r in demand], [r["quantity"] for r in demand], color=INK, lw=1)
        axes.plot([r["target_date"] for r in ahead], [r["mean"] for r in ahead], color=AHEAD, lw=1.6)
        _time_axis(axes)
        axes.set_ylabel("units, all series")
        return _picture(figure)


def fan(
    series: Fan, quantile_columns: Sequence[str], levels: Sequence[float], origin: date, since: date | None = None
) -> str:
    """Demand of one series beside the forecasts of the held-out periods, and the forecast ahead.

    Args:
        since: where time begins on the picture, also for a series that is younger.
    """
    with rc_context(_STYLE):
        figure, axes = _canvas(5.6, 2.4)
        for forecasts, colour in ((series.held_out, HELD_OUT), (series.ahead, AHEAD)):
            _draw_fan(axes, forecasts, quantile_columns, levels, colour)
        came = [row["quantity"] for row in series.history]
        marker = {"marker": "o", "ms": 1.8} if len(came) < 200 else {}
        axes.plot([row["period_start"] for row in series.history], came, color=INK, lw=0.9, **marker)
        axes.axvline(origin, color=FAINT, lw=0.8, ls=(0, (3, 3)))
        _time_axis(axes)
        if since:
            axes.set_xlim(left=since)
        return _picture(figure)


def calibration(accuracy: Accuracy, levels: Sequence[float]) -> str:
    """For each quantile level the shares of actual values below, and at or below, the forecast quantile.

    Demand comes in whole units, so a share jumps where a quantile equals a common value such as 0: a calibrated level
    lies between the two shares.
    """
    with rc_context(_STYLE | {"axes.grid.axis": "both"}):
        columns = panel_columns(len(accuracy.models))
        lines = math.ceil(len(accuracy.models) / columns)
        figure = Figure(figsize=(3.3 * columns, 3.2 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for axes, model in zip(panels.flat, accuracy.models, strict=False):
            _draw_calibration(axes, accuracy, model, levels)
        for axes in panels.flat[len(accuracy.models) :]:
            axes.remove()
        figure.get_layout_engine().set(hspace=0.06, wspace=0.03)
        for axes in panels[:, 0]:
            axes.set_ylabel("share of actual values")
        return _picture(figure)


def panel_columns(count: int) -> int:
    """Panels beside each other, so that lines of at most PANELS are filled evenly."""
    return math.ceil(count / math.ceil(count / PANELS))


def over_origins(accuracy: Accuracy) -> str:
    """Weighted quantile loss of each model as of each origin, the first model in front."""
    with rc_context(_STYLE):
        figure, axes = _canvas(10, max(2.7, 0.8 + 0.24 * len(accuracy.models)))
        ends = {}
        for place, model in reversed(list(enumerate(accuracy.models))):
            known = [
                (day, accuracy.by_origin[model, day]) for day in accuracy.origins if (model, day) in accuracy.by_origin
            ]
            if known:
                colour, dashes = _line_of(place)
                weight = 2.4 if place == 0 else 1.2
                axes.plot(
                    *zip(*known, strict=True), color=colour, ls=dashes, lw=weight, marker="o", ms=2.5 * weight**0.5
                )
                ends[model] = (*known[-1], colour)
        axes.set_ylabel("weighted quantile loss")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        shown = accuracy.origins[:: math.ceil(len(accuracy.origins) / 8)]
        axes.set_xticks(shown, [short_day(origin) for origin in shown])
        axes.margins(x=0.01)
        _label_ends(axes, ends, 15 / (72 * (figure.get_figheight() - 0.45)), accuracy.models[0])
        return _picture(figure)


def learning_curve(training: Training) -> str:
    """Validation loss over the minutes of training, the best marked."""
    minutes, losses = [row["seconds"] / 60 for row in training.history], [row["wql"] for row in training.history]
    best = training.best["seconds"] / 60, training.best["wql"]
    with rc_context(_STYLE):
        figure, axes = _canvas(5.6, 2.4)
        axes.plot(minutes, losses, color=INK, lw=1, marker="o", ms=2.5)
        axes.plot(*best, color=AHEAD, marker="o", ms=7)
        side = "right" if best[0] > max(minutes) / 2 else "left"  # the label stays on the picture
        axes.annotate(f"best: {best[1]:.4g}", best, (0, 9), textcoords="offset points", ha=side, color=AHEAD)
        axes.set(xlabel="minutes of training", ylabel="validation loss (WQL)")
        axes.set_xlim(left=0)
        axes.margins(y=0.15)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        return _picture(figure)


def _line_of(place: int) -> tuple[str, Any]:
    """Colour and dashes of the model in this place."""
    if place == 0:
        return AHEAD, "-"
    again, colour = divmod(place - 1, len(OTHERS))
    return OTHERS[colour], ("-", (0, (4, 2)), (0, (1, 1.5)))[again % 3]


def _label_ends(axes: Axes, ends: dict[str, tuple[date, float, str]], gap: float, first: str) -> None:
    """Names of lines beside their ends, moved apart as little as keeps them `gap` of the height from each other."""
    low, high = axes.get_ylim()
    models = sorted(ends, key=lambda model: ends[model][1])
    steps = gap * np.arange(len(models))
    heights = np.array([(ends[model][1] - low) / (high - low) for model in models])
    places = np.clip(isotonic_regression(heights - steps).x, 0, max(0.0, 1 - steps[-1])) + steps if models else []
    for model, place in zip(models, places, strict=True):
        day, value, colour = ends[model]
        axes.annotate(
            model_name(model),
            (day, value),
            (1.05, place),
            textcoords="axes fraction",
            va="center",
            color=INK,
            weight="bold" if model == first else "normal",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 1, "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5)},
        )


def _draw_calibration(axes: Axes, accuracy: Accuracy, model: str, levels: Sequence[float]) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=(0, (4, 3)))
    for level in levels:
        below, at_or_below = (accuracy.values.get((model, f"{k}_{level:g}")) for k in ("below", "at_or_below"))
        if below is not None and at_or_below is not None:
            _draw_level(axes, level, below, at_or_below)
    axes.set_title(model_name(model), fontsize=10, color=INK)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="quantile level")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _draw_level(axes: Axes, level: float, below: float, at_or_below: float) -> None:
    colour = AHEAD if below <= level <= at_or_below else OFF
    axes.plot([level, level], [below, at_or_below], color=colour, lw=5, alpha=0.35, solid_capstyle="butt")
    axes.plot([level, level], [below, at_or_below], color=colour, lw=0, marker="_", ms=8, mew=1.6)


def _draw_fan(
    axes: Axes, forecasts: list[dict[str, Any]], columns: Sequence[str], levels: Sequence[float], colour: str
) -> None:
    if not forecasts:
        return
    dates = [row["target_date"] for row in forecasts]
    for low, high in bands(levels):
        edges = ([row[columns[place]] for row in forecasts] for place in (low, high))
        axes.fill_between(dates, *edges, color=colour, alpha=0.16, lw=0)
    axes.plot(dates, [row[columns[list(levels).index(0.5)]] for row in forecasts], color=colour, lw=1.5)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _time_axis(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.margins(x=0.01)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if axes.dataLim.ymin < 0 else 0.0)


def _picture(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
