"""A plan laid on series: only what it names changes, and only ahead of the origin."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from small_sequences import HORIZON, LAST, small_calendar, small_rows, small_sequences

from forecasting.errors import SourceError
from forecasting.features.calendar import calendar_features
from forecasting.lake import rows
from forecasting.scenarios.changes import KNOWN, comparable, shared_with_plan, touched, with_event, with_plan
from forecasting.scenarios.plan import TYPES, Ahead

AHEAD = Ahead(LAST, HORIZON, "day")
ARRAYS = (
    "planned_price",
    "display",
    "mailer",
    "promotion",
    "promotion_depth",
    "promotion_periods_left",
    "promotion_announced",
)


def day(ahead: int) -> date:
    return LAST + timedelta(ahead)


@pytest.fixture(scope="module")
def sequences(spark):
    """24 series of three places; of every third one nobody has planned a promotion, and of every fourth one nobody knows a price ahead."""
    batch = small_sequences()
    table = pa.Table.from_batches([batch])
    lengths = batch["length"].to_numpy()

    def zeros():
        return pa.array(
            [np.zeros(n + HORIZON) if i % 3 else None for i, n in enumerate(lengths)], pa.list_(pa.float32())
        )

    for name in ("promotion", "promotion_depth", "promotion_periods_left", "display", "mailer"):
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, zeros())
    prices = [np.full(n + HORIZON, 2.0) if i % 4 else np.zeros(n + HORIZON) for i, n in enumerate(lengths)]
    table = table.drop_columns(["planned_price"]).append_column(
        "planned_price", pa.array(prices, pa.list_(pa.float32()))
    )
    return spark.createDataFrame(table)


@pytest.fixture
def plan_of(spark):
    def make(*lines: dict):
        columns = ("line", *TYPES)
        schema = "line long, " + ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
        values = [({"line": n} | dict.fromkeys(TYPES) | line) for n, line in enumerate(lines, 1)]
        return spark.createDataFrame([tuple(v[c] for c in columns) for v in values], schema)

    return make


def laid(sequences, plan):
    """Series before and after, by item: each a dictionary of the last value of the past and those ahead."""
    before = comparable(touched(sequences, plan, "plan", AHEAD), HORIZON)
    found = []
    for frame in (before, with_plan(before, HORIZON)):
        kept = frame.select("item_id", "length", *ARRAYS, "promotion_kinds", "price")
        found.append({row["item_id"]: row for row in rows(kept)})
    return found


def ahead(row, name):
    return row[name][row["length"] :]


def test_only_the_series_and_days_of_a_line_change(sequences, plan_of):
    plan = plan_of({"item_id": "item005", "starts_on": day(2), "ends_on": day(3), "price": 1.0})
    before, after = laid(sequences, plan)
    assert set(before) == set(after) == {"item005"}
    assert ahead(after["item005"], "planned_price") == [2.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert ahead(before["item005"], "planned_price") == [2.0] * HORIZON
    for name in ARRAYS:
        length = after["item005"]["length"]
        old, new = before["item005"][name], after["item005"][name]
        assert (old is None and new is None) or (len(new) == length + HORIZON and new[:length] == old[:length])
        assert name == "planned_price" or new == old


def test_a_price_nobody_planned_goes_on_from_the_last_one_seen(sequences, plan_of):
    before, after = laid(
        sequences, plan_of({"item_id": "item004", "starts_on": day(1), "ends_on": day(2), "price_change": -0.25})
    )
    seen = before["item004"]["price"][-1]
    assert ahead(before["item004"], "planned_price") == [seen] * HORIZON
    assert ahead(after["item004"], "planned_price") == pytest.approx([0.75 * seen] * 2 + [seen] * 5)


@pytest.mark.parametrize("item", ["item003", "item004"])  # of the first nobody had planned a promotion
def test_a_promotion_has_its_kind_depth_and_days_left(sequences, plan_of, item):
    line = {"promotion": "coupon", "promotion_depth": 0.5, "display": 1.0}
    before, after = laid(sequences, plan_of({"item_id": item, "starts_on": day(-3), "ends_on": day(2)} | line))
    row = after[item]
    assert ahead(row, "promotion") == [1, 1, 0, 0, 0, 0, 0] and ahead(row, "promotion_depth") == [
        0.5,
        0.5,
        0,
        0,
        0,
        0,
        0,
    ]
    assert ahead(row, "promotion_periods_left") == [2, 1, 0, 0, 0, 0, 0] and ahead(row, "display")[:3] == [1, 1, 0]
    assert ahead(row, "mailer")[:2] == [0, 0]
    for frame in (before, after):  # both know what is planned anyway
        assert ahead(frame[item], "promotion_announced") == [KNOWN] * HORIZON
    kinds, length = row["promotion_kinds"], row["length"]
    assert kinds["coupon"][length:][:2] == [1, 1]
    assert kinds["coupon"][:length] == before[item]["promotion_kinds"]["coupon"][:length]


def test_another_kind_takes_the_place_of_the_one_planned(sequences, plan_of):
    lines = [{"item_id": "item004", "starts_on": day(1), "ends_on": day(5), "promotion": "coupon"},
             {"item_id": "item004", "starts_on": day(2), "ends_on": day(3), "promotion": "flyer"},
             {"item_id": "item004", "starts_on": day(3), "ends_on": day(3), "promotion": "none"}]  # fmt: skip
    _, after = laid(sequences, plan_of(*lines))
    row = after["item004"]
    kinds = {kind: values[row["length"] :] for kind, values in row["promotion_kinds"].items()}
    assert kinds["coupon"][:5] == [1, 0, 0, 1, 1] and kinds["flyer"][:5] == [0, 1, 0, 0, 0]
    assert ahead(row, "promotion")[:5] == [1, 1, 0, 1, 1] and ahead(row, "promotion_periods_left")[:5] == [
        5,
        2,
        0,
        2,
        1,
    ]


def test_lines_choose_by_any_attributes_and_blank_means_all(sequences, plan_of):
    span = {"starts_on": day(1), "ends_on": day(1), "price": 1.0}
    everything = rows(sequences.select("item_id", "location_id", "category"))
    chosen = {"location_id": "l1", "category": "b"}
    before, _ = laid(sequences, plan_of(span | chosen))
    assert set(before) == {row["item_id"] for row in everything if chosen.items() <= row.items()}
    before, _ = laid(sequences, plan_of(span, span | {"item_id": "item001"}))
    assert set(before) == {row["item_id"] for row in everything}


def test_a_line_that_holds_for_no_series_is_told(sequences, plan_of):
    span = {"starts_on": day(1), "ends_on": day(1), "price": 1.0}
    with pytest.raises(SourceError, match="line 2: item_id item005, location_id l9"):
        touched(
            sequences,
            plan_of(span | {"item_id": "item005"}, span | {"item_id": "item005", "location_id": "l9"}),
            "plan",
            AHEAD,
        )


@pytest.mark.parametrize(
    ("grain", "origin", "last", "held"),
    [
        ("week", date(2023, 6, 26), date(2023, 7, 17), [1, 2, 3]),
        ("month", date(2023, 6, 1), date(2023, 8, 1), [1, 2]),
    ],
)
def test_days_of_a_line_are_counted_in_periods(sequences, plan_of, grain, origin, last, held):
    plan = plan_of({"starts_on": date(2023, 7, 6), "ends_on": last, "price": 1.0})
    planned = touched(sequences, plan, "plan", Ahead(origin, 7, grain)).select("planned").first()["planned"]
    assert [at for at, lines in enumerate(planned, start=1) if lines["price"]] == held


def test_a_promotion_that_lasts_beyond_the_horizon_says_so(sequences, plan_of):
    _, after = laid(
        sequences, plan_of({"item_id": "item004", "starts_on": day(6), "ends_on": day(20), "promotion": "coupon"})
    )
    assert ahead(after["item004"], "promotion_periods_left") == [0, 0, 0, 0, 0, 15, 14]


@pytest.mark.parametrize("grain", ["day", "week", "month"])
def test_an_event_is_told_as_if_it_had_been_in_the_calendar(grain):
    def calendar(own):
        rows = calendar_features(date(2023, 2, 1), 80, grain, "US", None, ("easter",), own, date(2023, 12, 31))
        return rows.assign(calendar="US")

    past = {"date": date(2023, 5, 20), "event": "fair"}
    coming = [{"date": date(2023, 7, n), "event": "fair"} for n in (12, 13)]
    told = with_event(calendar([past]), "fair", date(2023, 7, 12), date(2023, 7, 13), grain)
    expected = calendar([past, *coming])
    for column in ("holidays", "days_to", "days_since", "days_to_holiday", "days_since_holiday"):
        assert list(told[column]) == list(expected[column]), column
    names = [[set((text or "").split("; ")) for text in frame["holiday_names"]] for frame in (told, expected)]
    assert names[0] == names[1]


def test_a_retail_event_keeps_its_column(spark):
    told = with_event(small_calendar(), "easter", day(2), day(2), "day")
    of_day = told[told["period_start"] == day(2)]
    assert set(of_day["events"]) == {"easter"} and all(dict(row)["easter"] == 0 for row in of_day["days_to"])
    before = told[told["period_start"] == day(1)]
    assert all(dict(row)["easter"] == 1 for row in before["days_to"])


def test_both_forecasts_know_the_promotion_plan_as_far_as_the_scenario_reaches(plan_of):
    shared = small_rows()
    shared = type(shared)(
        shared.calendar.assign(promotions_known=shared.calendar["period_start"] <= day(1)), None, "day"
    )
    plan = plan_of(
        {"starts_on": day(1), "ends_on": day(4), "promotion": "coupon"},
        {"starts_on": day(6), "ends_on": day(6), "event": "easter"},
    )
    without, having = shared_with_plan(shared, plan, AHEAD)
    for rows_ in (without.calendar, having.calendar):
        known = rows_.loc[rows_["promotions_known"], "period_start"].max()
        assert known == day(4)
    assert without.calendar.drop(columns="promotions_known").equals(shared.calendar.drop(columns="promotions_known"))
    assert not having.calendar["events"].equals(without.calendar["events"])
    prices_alone = plan_of({"starts_on": day(1), "ends_on": day(4), "price": 2.0})
    assert shared_with_plan(shared, prices_alone, AHEAD)[0].calendar.equals(shared.calendar)
