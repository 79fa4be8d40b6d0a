"""The report's plots, each as an SVG picture in a data URI, so that the page needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from datetime import date
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from forecasting.report.contents import Accuracy, Fan
from forecasting.report.wording import model_name

INK, FAINT, GRID = "#1d2733", "#6b7785", "#e4e8ed"
AHEAD, HELD_OUT, OFF = "#1f6fb2", "#d98324", "#b3261e"
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
        figure = Figure(figsize=(3.3 * len(accuracy.models), 3.2), layout="constrained")
        panels = figure.subplots(1, len(accuracy.models), sharey=True, squeeze=False)[0]
        for axes, model in zip(panels, accuracy.models, strict=True):
            axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=(0, (4, 3)))
            for level in levels:
                below, at_or_below = (accuracy.values.get((model, f"{k}_{level:g}")) for k in ("below", "at_or_below"))
                if below is not None and at_or_below is not None:
                    _draw_level(axes, level, below, at_or_below)
            axes.set_title(model_name(model), fontsize=10, color=INK)
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="quantile level")
            axes.xaxis.set_major_formatter(PercentFormatter(1))
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        panels[0].set_ylabel("share of actual values")
        return _picture(figure)


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
