import base64
from datetime import date, timedelta
from xml.etree import ElementTree

from forecasting.report import figures
from forecasting.report.contents import Accuracy, Fan

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
    svg(figures.calibration(Accuracy(START, "m", ("transformer", "seasonal_naive"), 3, values), LEVELS))


def test_returns_may_make_total_demand_negative():
    demand = [{"period_start": START + timedelta(day), "quantity": day - 3} for day in range(7)]
    svg(figures.total_demand(demand, []))
