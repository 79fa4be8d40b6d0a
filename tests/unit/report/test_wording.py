from datetime import UTC, date, datetime, timedelta

import pytest

from forecasting.report import wording
from forecasting.report.accuracy import Accuracy
from forecasting.report.contents import Contents, Forecasts, Orders
from forecasting.report.training import Training


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (0.02, "0"),
        (0.44, "0.4"),
        (3, "3"),
        (9.5, "9.5"),
        (9.96, "10"),
        (12.6, "13"),
        (1234567.8, "1,234,568"),
    ],
)
def test_units_have_a_decimal_where_they_are_few(value, words):
    assert wording.units(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 %"),
        (0.0001, "< 0.1 %"),
        (0.004, "0.4 %"),
        (0.125, "12 %"),
        (0.996, "99.6 %"),
        (0.9999, "> 99.9 %"),
        (1 - 1e-12, "100 %"),
        (1, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(value, words):
    assert wording.share(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(12.34, "12.3 s"), (272, "4 min 32 s"), (119.9, "2 min 00 s"), (3900, "1 h 05 min")]
)
def test_duration(seconds, words):
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (date(2018, 1, 1), date(2018, 1, 28), "1 to 28 January 2018"),
        (date(2018, 1, 29), date(2018, 2, 4), "29 January to 4 February 2018"),
        (date(2017, 12, 30), date(2018, 1, 2), "30 December 2017 to 2 January 2018"),
    ],
)
def test_a_span_says_month_and_year_once(first, last, words):
    assert wording.span(first, last) == words


@pytest.mark.parametrize(
    ("value", "floor", "words"),
    [
        (0.9, 1.0, ("10.0 % better", "better")),
        (1.2, 1.0, ("20.0 % worse", "worse")),
        (1.0, 1.0, ("same", "")),
        (1.0, 0.0, ("", "")),
        (None, 1.0, ("", "")),
        (1.0, None, ("", "")),
    ],
)
def test_against_a_floor(value, floor, words):
    assert wording.against(value, floor) == words


def test_an_undefined_metric_is_a_dash():
    assert wording.metric_value("mase", None) == "–"
    assert wording.metric_value("bias", -0.034) == "-3.4 %"
    assert wording.metric_value("rmse", 12.34567) == "12.35"


def contents(**parts) -> Contents:
    empty = dict.fromkeys(("quality", "demand", "forecasts", "accuracy", "training", "hardest", "orders"))
    base = {"run_id": "r", "created_at": datetime(2018, 1, 1, tzinfo=UTC), "rules": [], "fans": [], "stages": []}
    return Contents(**base | empty | parts)


def forecasts(per_day: float, before: float | None) -> Forecasts:
    ahead = [{"target_date": date(2018, 1, 1) + timedelta(day), "mean": per_day} for day in range(7)]
    return Forecasts(date(2017, 12, 31), "d", "m", 3, ahead, before, [])


def test_the_summary_of_an_empty_lake_names_what_is_missing():
    assert wording.summary(contents(), "day") == (
        "No forecast has been made yet. How accurate such forecasts are has not been measured yet. "
        "Orders have not been worked out yet."
    )


def test_the_summary_says_what_to_expect_trust_order_and_mind():
    found = contents(
        forecasts=forecasts(10, 56),
        accuracy=Accuracy(
            (date(2017, 12, 24),),
            "m",
            ("transformer",),
            3,
            {("transformer", "wql"): 0.8, ("seasonal_naive", "wql"): 1.0},
        ),
        orders=Orders(date(2017, 12, 31), 3, 2, 40, 1, True, []),
        quality=[{"rows_in": 200, "rows_quarantined": 1}],
    )
    assert wording.summary(found, "day") == (
        "For the 7 days from 1 January 2018, demand of 70 units is expected over 3 series, 25 % more than in the 7 "
        "days before (56). On the periods after 24 December 2017, which the model had not seen, its forecasts were "
        "20.0 % better than repeating the last season (weighted quantile loss). 2 orders over 40 units are proposed; "
        "without them 1 series would run out with a probability of 50 % or more. Of 200 rows delivered, 1 (0.5 %) were "
        "set aside as unusable."
    )


def test_without_stock_the_summary_says_so():
    found = contents(orders=Orders(date(2017, 12, 31), 3, 2, 40, 3, False, []))
    assert "no stock was given" in wording.summary(found, "day")


def test_little_change_is_about_as_much():
    assert "about as much as in the 7 days before" in wording.summary(contents(forecasts=forecasts(10, 70.1)), "day")


def test_trust_is_the_mean_over_several_windows():
    values = {("transformer", "wql"): 0.8, ("seasonal_naive", "wql"): 1.0}
    origins = (date(2017, 11, 26), date(2017, 12, 10), date(2017, 12, 24))
    found = contents(accuracy=Accuracy(origins, "m", ("transformer", "seasonal_naive"), 3, values))
    assert (
        "On 3 windows, the first after 26 November 2017 and the last after 24 December 2017, which the model had not "
        "seen, its forecasts were on average 20.0 % better than repeating the last season"
    ) in wording.summary(found, "day")


@pytest.mark.parametrize(
    ("model", "name"),
    [("seasonal_naive", "Seasonal naive"), ("auto_ets", "Auto ETS"), ("lstm", "LSTM"), ("lightgbm", "LightGBM")],
)
def test_models_are_spelt_as_people_do(model, name):
    assert wording.model_name(model) == name


@pytest.mark.parametrize(
    ("gain", "low", "high", "words"),
    [
        (0.123, 0.11, 0.136, ("12.3 % less", "11.0 to 13.6 % less", "better")),
        (-0.03, -0.05, -0.01, ("3.0 % more", "1.0 to 5.0 % more", "worse")),
        (0.01, -0.004, 0.024, ("1.0 % less", "0.4 % more to 2.4 % less", "no difference beyond chance")),
        (0.0, 0.0, 0.0, ("0.0 % less", "0.0 to 0.0 % less", "no difference beyond chance")),
        (0.2, None, None, ("20.0 % less", "–", "too little to tell")),
        (None, None, None, ("–", "–", "too little to tell")),
    ],
)
def test_a_difference_its_interval_and_whether_it_may_be_chance(gain, low, high, words):
    assert (wording.difference(gain), wording.interval(low, high), wording.verdict(low, high)[0]) == words


def test_training_says_when_it_was_best():
    history = [{"step": 100, "wql": 0.9, "seconds": 20.0}, {"step": 200, "wql": 0.61234, "seconds": 42.0}]
    assert wording.training(Training("m", 250, 61.0, history)) == (
        "250 steps in 1 min 01 s; validation loss was lowest, 0.6123, after 200 steps (42.0 s). "
        "The weights of that moment forecast."
    )
    assert wording.training(Training("m", 5, 61.0, [])) == "5 steps in 1 min 01 s, without a validation."
