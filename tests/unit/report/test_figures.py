import base64
from datetime import date, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from matplotlib.text import Text

from forecasting.report import figures
from forecasting.report.accuracy import Accuracy
from forecasting.report.fans import Fan
from forecasting.report.training import Training

LEVELS = (0.1, 0.5, 0.9)
COLUMNS = ("p10", "p50", "p90")
START = date(2017, 11, 1)


def svg(uri: str) -> ElementTree.Element:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/svg+xml;base64"
    return ElementTree.fromstring(base64.b64decode(content))


def series(**parts) -> Fan:
    return Fan("1", "ALL", "apples", None, is_random=False, **parts)


def ahead(start: date) -> list[dict]:
    return [{"target_date": start + timedelta(d), "mean": 2, "p10": 0, "p50": 2, "p90": 5} for d in range(7)]


def test_bands_pair_mirrored_levels_widest_first():
    assert figures.bands((0.05, 0.1, 0.3, 0.5, 0.9, 0.95)) == [(0, 5), (1, 4)]
    assert figures.bands((0.5,)) == []


def test_the_same_fan_gives_the_same_bytes():
    history = [{"period_start": START + timedelta(day), "quantity": day % 3} for day in range(30)]
    drawn = series(history=history, held_out=ahead(START + timedelta(23)), ahead=ahead(START + timedelta(30)))
    pictures = {figures.fan(drawn, COLUMNS, LEVELS, START + timedelta(29)) for _ in range(2)}
    assert len(pictures) == 1
    svg(pictures.pop())


def test_a_series_without_any_row_is_drawn_empty():
    svg(figures.fan(series(), COLUMNS, LEVELS, START))


def test_calibration_leaves_out_levels_that_were_not_measured():
    values = {("transformer", "below_0.5"): 0.4, ("transformer", "at_or_below_0.5"): 0.6}
    svg(figures.calibration(Accuracy((START,), "m", ("transformer", "seasonal_naive"), 3, values), LEVELS))


def test_returns_may_make_total_demand_negative():
    demand = [{"period_start": START + timedelta(day), "quantity": day - 3} for day in range(7)]
    svg(figures.total_demand(demand, []))


@pytest.mark.parametrize(("models", "columns"), [(1, 1), (3, 3), (4, 4), (5, 3), (8, 4), (9, 3), (10, 4)])
def test_panels_fill_lines_evenly(models, columns):
    assert figures.panel_columns(models) == columns


def test_calibration_of_many_models_wraps_into_lines():
    models = tuple(f"model_{number}" for number in range(9))
    picture = svg(figures.calibration(Accuracy((START,), "m", models, 3, {}), LEVELS))
    width, height = (float(picture.get(side).removesuffix("pt")) for side in ("width", "height"))
    assert width == 3 * 3.3 * 72
    assert height == 3 * 3.2 * 72


def test_labels_of_lines_that_end_together_are_kept_apart(monkeypatch):
    models = tuple(f"model_{number}" for number in range(10))
    origins = (START, START + timedelta(28))
    by_origin = {(model, origin): 0.5 for model in models for origin in origins}
    by_origin[models[0], origins[1]] = 0.9

    def heights(figure) -> list[float]:
        figure.draw_without_rendering()
        return sorted(
            Text.get_window_extent(label).y0 for label in figure.axes[0].texts
        )  # of the words, not of the line

    monkeypatch.setattr(figures, "_picture", heights)
    low = figures.over_origins(Accuracy(origins, "m", models, 3, {}, by_origin=by_origin))
    letters = 9 * 100 / 72  # points at matplotlib's 100 dots an inch
    assert len(low) == 10
    assert min(above - below for below, above in pairwise(low)) > letters


def test_a_model_without_a_value_has_no_line():
    origins = (START, START + timedelta(28))
    values = {("transformer", origin): 0.5 for origin in origins}
    svg(figures.over_origins(Accuracy(origins, "m", ("transformer", "auto_ets"), 3, {}, by_origin=values)))
    svg(figures.over_origins(Accuracy(origins, "m", ("transformer", "auto_ets"), 3, {})))


def test_a_learning_curve_of_one_validation_is_drawn():
    drawn = figures.learning_curve(Training("m", 100, 60.0, [{"step": 100, "wql": 0.7, "seconds": 60.0}]))
    svg(drawn)
    assert b"best: 0.7" in base64.b64decode(drawn.partition(",")[2]), "matplotlib notes the words beside their outlines"
