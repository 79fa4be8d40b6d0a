from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.features.plans import ALWAYS, Spans, price_spans, promotion_spans
from forecasting.periods import position, shift

DAY = st.dates(date(2023, 11, 1), date(2024, 4, 30))
SHARE = st.sampled_from([0.0, 0.25, 1 / 3, 1 / 112, 1.0])
KIND = pa.struct(
    [("starts_on", pa.date32()), ("ends_on", pa.date32()), ("announced_on", pa.date32()), ("kind", pa.string())]
    + [(name, pa.float64()) for name in ("share", "depth", "display", "mailer", "price")]
)
NAMES = [field.name for field in KIND]
SPAN = st.builds(
    lambda start, days, notice, kind, share, depth, price: (
        start,
        start + timedelta(days),
        notice if notice is None else start - timedelta(notice),
        kind,
        share,
        depth,
        share,
        0.5 * share,
        price,
    ),
    DAY,
    st.integers(0, 40),
    st.one_of(st.none(), st.integers(-3, 60)),
    st.sampled_from([None, "coupon", "fair"]),
    SHARE,
    st.one_of(st.none(), SHARE),
    st.floats(1, 20, width=32),
)
SERIES = st.lists(
    st.tuples(DAY, st.integers(1, 30), st.one_of(st.none(), st.lists(SPAN, max_size=4))), min_size=1, max_size=4
)


def spans_of(all_series, grain) -> Spans:
    lists = pa.array(
        [s and [dict(zip(NAMES, span, strict=True)) for span in s] for _, _, s in all_series], pa.list_(KIND)
    )
    first = position(np.array([start for start, _, _ in all_series], "datetime64[D]"), grain)
    return Spans(lists, first, np.array([length for _, length, _ in all_series]), grain)


@given(SERIES, st.sampled_from(["day", "week", "month"]))
def test_plans_are_what_the_slow_loop_finds(all_series, grain):
    slow = {name: [] for name in ("display", "mailer", "depth", "left", "price", "coupon", "announced")}
    for start, length, spans in all_series:
        for index in range(length):
            begin, following = shift(start, index, grain), shift(start, index + 1, grain)
            touching = [
                dict(zip(NAMES, span, strict=True)) for span in spans or [] if span[0] < following and span[1] >= begin
            ]
            share = sum(span["share"] for span in touching)
            slow["display"].append(min(1.0, sum(span["display"] for span in touching)))
            slow["mailer"].append(min(1.0, sum(span["mailer"] for span in touching)))
            slow["depth"].append(share and sum(span["share"] * (span["depth"] or 0) for span in touching) / share)
            ends = [int(position(np.datetime64(span["ends_on"]), grain)) for span in touching]
            slow["left"].append(max(ends) - int(position(np.datetime64(begin), grain)) + 1 if ends else 0)
            now = int(position(np.datetime64(begin), grain))
            told = [
                int(position(np.datetime64(span["announced_on"]), grain)) for span in touching if span["announced_on"]
            ]
            slow["announced"].append(max(now - max(told), -1) if told else ALWAYS)
            slow["price"].append(np.mean([span["price"] for span in touching]) if touching else 0)
            slow["coupon"].append(min(1.0, sum(span["share"] for span in touching if span["kind"] == "coupon")))
    found = spans_of(all_series, grain)
    kinds = found.kinds()
    for name, values in {
        "display": found.share_of("display"),
        "mailer": found.share_of("mailer"),
        "depth": found.depth(),
        "left": found.periods_left(),
        "price": found.price(),
        "announced": found.announced(),
        "coupon": kinds.get("coupon", np.zeros(len(slow["coupon"]))),
    }.items():
        np.testing.assert_allclose(values, slow[name], rtol=1e-5, atol=1e-5, err_msg=name)


@given(SERIES, st.sampled_from(["day", "week", "month"]))
def test_the_plans_of_a_series_do_not_depend_on_those_it_is_read_with(all_series, grain):
    def values(found):
        return found.share_of("display"), found.depth(), found.price(), found.periods_left()

    alone = zip(*(values(spans_of([series], grain)) for series in all_series), strict=True)
    for together, each in zip(values(spans_of(all_series, grain)), alone, strict=True):
        np.testing.assert_array_equal(together, np.concatenate(each))


@pytest.fixture(scope="module")
def locations(spark):
    return spark.createDataFrame(
        [("s1", "north"), ("s2", "north"), ("s3", None)], "location_id string, location_group string"
    )


PROMOTIONS = (
    "item_id string, location_id string, starts_on date, ends_on date, announced_on date, kind string, depth double, "
    "display double, mailer double"
)


def promotions_of(spark, locations, level):
    week = (date(2024, 1, 1), date(2024, 1, 7))
    promotions = [
        ("a", "s1", *week, date(2023, 12, 20), "coupon", 0.1, 1.0, 0.0),
        ("a", "s2", *week, date(2023, 12, 24), "coupon", 0.3, 1.0, 1.0),
        ("b", None, date(2024, 1, 8), date(2024, 1, 8), None, None, None, 0.0, 1.0),
        (None, "s3", date(2024, 1, 9), date(2024, 1, 9), None, "fair", None, None, None),
    ]
    items, places = promotion_spans(spark.createDataFrame(promotions, PROMOTIONS), locations, level)

    def told(spans):
        days = [(s["starts_on"].day, s["announced_on"] and s["announced_on"].day) for s in spans]
        return [
            (*d, s["kind"], s["share"], s["depth"], s["display"], s["mailer"]) for d, s in zip(days, spans, strict=True)
        ]

    return {(row["item_id"], row["location_id"]): told(row["spans"]) for row in items.collect()} | {
        row["location_id"]: told(row["place_spans"]) for row in places.collect()
    }


def test_a_promotion_counts_as_the_share_of_locations_that_take_part(spark, locations):
    third = pytest.approx(1 / 3)
    assert promotions_of(spark, locations, "chain") == {
        ("a", "ALL"): [(1, 24, "coupon", pytest.approx(2 / 3), pytest.approx(0.2), pytest.approx(2 / 3), third)],
        ("b", "ALL"): [(8, None, None, 1.0, None, 0.0, 1.0)],
        "ALL": [(9, None, "fair", third, None, 0.0, 0.0)],
    }
    assert promotions_of(spark, locations, "group") == {
        ("a", "north"): [(1, 24, "coupon", 1.0, pytest.approx(0.2), 1.0, 0.5)],
        ("b", "north"): [(8, None, None, 1.0, None, 0.0, 1.0)],
        ("b", "s3"): [(8, None, None, 1.0, None, 0.0, 1.0)],
        "s3": [(9, None, "fair", 1.0, None, 0.0, 0.0)],
    }


def test_a_price_holds_until_the_next_and_a_place_wins_over_everywhere(spark, locations):
    prices = [
        ("a", None, date(2024, 1, 1), None, 2.0),
        ("a", None, date(2024, 1, 10), None, 3.0),
        ("a", "s1", date(2024, 1, 5), date(2024, 1, 6), 1.0),
    ]
    prices = [(*row, date(2023, 12, 24) if row[2] == date(2024, 1, 5) else None) for row in prices]
    columns = "item_id string, location_id string, starts_on date, ends_on date, price double, announced_on date"
    found = price_spans(spark.createDataFrame(prices, columns), locations, "location").collect()
    spans = {
        (row["location_id"], kind): sorted((p["starts_on"].day, p["ends_on"], p["price"]) for p in row[kind] or [])
        for row in found
        for kind in ("prices", "general_prices")
    }
    assert spans["s1", "prices"] == [(5, date(2024, 1, 6), 1.0)]
    assert spans["s2", "prices"] == []
    announced = {p["announced_on"] for row in found for p in row["prices"] or []}
    assert announced == {date(2023, 12, 24)}
    everywhere = [(1, date(2024, 1, 9), 2.0), (10, date(2100, 1, 1), 3.0)]
    assert [spans[place, "general_prices"] for place in ("s1", "s2", "s3")] == [everywhere] * 3
