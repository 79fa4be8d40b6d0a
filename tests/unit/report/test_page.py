import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from forecasting.config import load_config
from forecasting.report.accuracy import Accuracy
from forecasting.report.contents import Contents, Forecasts, Orders
from forecasting.report.fans import Fan
from forecasting.report.page import render
from tests.unit.report.made_up import contents as many

ORIGIN = date(2017, 12, 31)
CONFIG = load_config()
WHEN = datetime(2018, 1, 1, 6, 15, tzinfo=UTC)
NOTHING = Contents("small", WHEN, None, [], None, None, None, None, None, [], None, [])


def text(html: str) -> str:
    """Words on the page, without tags and with single spaces."""
    body = html.partition("<body>")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


@pytest.fixture(scope="module")
def full() -> str:
    quantiles = dict.fromkeys(CONFIG.forecast.quantile_columns, 2.0)
    ahead = [{"target_date": ORIGIN + timedelta(day), "mean": 2.5, **quantiles} for day in range(1, 29)]
    values = {("transformer", "wql"): 0.5, ("seasonal_naive", "wql"): 1.0, ("transformer", "coverage_80"): 0.83}
    order = {
        "item_id": "1",
        "location_id": "ALL",
        "name": "<b>Milk & honey</b>",
        "category": "DAIRY",
        "on_hand": 3.0,
        "on_order": 1.0,
        "reorder_point": 40.0,
        "order_quantity": 36.0,
        "protection_demand": 30.4,
        "stock_out_probability": 0.991,
        "stock_out_probability_after_order": 0.042,
    }
    contents = Contents(
        run_id="small",
        created_at=datetime(2018, 1, 1, 6, 15, tzinfo=UTC),
        quality=[
            {"source": "sales", "rows_in": 2000, "rows_accepted": 1990, "rows_quarantined": 10},
            {"source": "stock", "rows_in": 0, "rows_accepted": 0, "rows_quarantined": 0},
        ],
        rules=[
            {
                "source": "sales",
                "rule": "required_item_id",
                "rows": 10,
                "example": "item_id: expected a value, came none",
            }
        ],
        demand=[{"period_start": ORIGIN - timedelta(day), "quantity": 5.0} for day in range(9, -1, -1)],
        forecasts=Forecasts(ORIGIN, "data1", "model1", 1, ahead, None, []),
        accuracy=Accuracy((ORIGIN - timedelta(28),), "model1", ("transformer", "seasonal_naive"), 1, values),
        training=None,
        hardest=None,
        fans=[Fan("1", "ALL", "<b>Milk & honey</b>", "DAIRY", False, [], [], ahead)],
        orders=Orders(ORIGIN, 1, 1, 36.0, 1, True, [order]),
        stages=[
            {
                "run_id": "small",
                "stage": "ingest",
                "seconds": 272.0,
                "peak_memory_gib": 3.68,
                "figures": '{"rows": 2000}',
            }
        ],
    )
    return render(contents, CONFIG)


def test_the_page_loads_nothing(full):
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", full)
    assert "url(" not in full
    assert "<script" not in full


def test_names_from_the_catalogue_are_text_and_not_markup(full):
    assert "<b>Milk" not in full
    assert "&lt;b&gt;Milk &amp; honey&lt;/b&gt;" in full


def test_every_part_shows_its_figures(full):
    shown = text(full)
    assert "sales 2,000 1,990 10 0.5 %" in shown
    assert "stock not given" in shown
    assert "required_item_id 10" in shown
    assert "0.5000 50.0 % better 1.000 " in shown
    assert "wanted: 80 % or more. 83.0 %" in shown
    assert "30 4 99.1 % 40 36 4 %" in shown
    assert "ingest 4 min 32 s 3.7 GiB rows 2,000" in shown
    assert "1 to 28 January 2018" in shown
    assert "28 days from 4 December 2017" in shown


def test_parts_whose_job_has_not_run_say_so():
    shown = text(render(NOTHING, CONFIG))
    for job in ("ingest", "aggregate", "backtest", "train", "score", "inventory"):
        assert f"the job {job} has not run" in shown


def test_figures_of_another_model_are_marked(full):
    assert "These figures belong to model" not in full
    ahead = [{"target_date": ORIGIN + timedelta(1), "mean": 2.5}]
    other = replace(
        NOTHING,
        forecasts=Forecasts(ORIGIN, "data1", "model1", 1, ahead, None, []),
        accuracy=Accuracy((ORIGIN - timedelta(28),), "model0", ("transformer",), 1, {("transformer", "wql"): 0.5}),
    )
    assert "These figures belong to model model0, the forecasts below to model model1." in text(render(other, CONFIG))


def test_several_origins_are_told_by_mean_spread_and_curve():
    html = render(many(CONFIG), CONFIG)
    shown = text(html)
    assert "Every model forecast 4 windows of 28 days, from 11 September to 31 December 2017, knowing nothing" in shown
    assert "0.6142 27.1 % better 0.6000 to 0.6273 0.6259" in shown
    assert "Weighted quantile loss of each model as of each forecast origin" in html


def test_one_origin_has_neither_spread_nor_curve(full):
    shown = text(full)
    assert "knowing nothing later than 3 December 2017" in shown
    assert "window by window" not in shown
    assert "did not test whether differences between models may be chance" in shown


def test_each_other_model_is_told_apart_or_not():
    shown = text(render(many(CONFIG), CONFIG))
    assert "LSTM 0.4 % less 0.9 % more to 1.7 % less 50 % no difference beyond chance" in shown
    assert "Recent quantiles 6.0 % less 4.7 to 7.3 % less 56 % better" in shown
    assert "LightGBM 3.1 % more 1.8 to 4.4 % more 47 % worse" in shown


def test_the_hardest_series_say_why():
    shown = text(render(many(CONFIG), CONFIG))
    assert "81912 · GROCERY 81 34 210 160 New: 3 weeks of history; level rose from 4.9 to 15 units a day" in shown
    assert "82 34 209 160 Stopped selling on 13 December 2017: out of stock or delisted" in shown
    none = replace(many(CONFIG), hardest=replace(many(CONFIG).hardest, series=[]))
    assert "After 3 December 2017, Transformer lost nowhere against recent quantiles." in text(render(none, CONFIG))


def test_training_and_what_forecasts_are_told():
    shown = text(render(many(CONFIG), CONFIG))
    assert "Model model1: 2,500 steps in 7 min 05 s; validation loss was lowest, 0.6278" in shown
    assert "Recent quantiles 83 1,214 Over 112 held-out periods its loss was 14 % below" in shown
    missing = text(render(replace(many(CONFIG), training=None), CONFIG))
    assert "Model model1 left no artifact" in missing
