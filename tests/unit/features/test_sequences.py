from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.features.sequences import build_sequences, price_and_discount, promotion_arrays, promotion_spans
from forecasting.periods import position, shift

PERIOD = st.tuples(
    st.integers(-3, 5).map(float), st.floats(0, 20, width=32), st.floats(0, 10, width=32)
)  # quantity, revenue, discount


def slow_price_and_discount(series):
    """Walks over the periods of one series."""
    prices, shares, price = [], [], 0.0
    for quantity, revenue, discount in series:
        share = 0.0
        if quantity > 0 and revenue + discount > 0:
            price = (revenue + discount) / quantity
            share = discount / (revenue + discount)
        prices.append(price)
        shares.append(share)
    return prices, shares


@given(st.lists(st.lists(PERIOD, min_size=1, max_size=8), max_size=5))
def test_price_and_discount_are_what_the_slow_loop_finds(all_series):
    flat = np.array([period for series in all_series for period in series], np.float32).reshape(-1, 3)
    lengths = np.array([len(series) for series in all_series], np.int64)
    price, discount = price_and_discount(flat[:, 0], flat[:, 1], flat[:, 2], lengths)
    slow = [slow_price_and_discount(series) for series in all_series]
    np.testing.assert_allclose(price, [p for prices, _ in slow for p in prices], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(discount, [d for _, shares in slow for d in shares], rtol=1e-4, atol=1e-6)
    assert price.dtype == discount.dtype == np.float32


DAY = st.dates(date(2023, 11, 1), date(2024, 4, 30))
SHARE = st.sampled_from([0.0, 0.25, 0.5, 1.0])
SPAN = st.builds(
    lambda start, days, display, mailer: (start, start + timedelta(days), display, mailer),
    DAY,
    st.integers(0, 40),
    SHARE,
    SHARE,
)


@given(
    st.lists(
        st.tuples(DAY, st.integers(1, 30), st.one_of(st.none(), st.lists(SPAN, max_size=4))), min_size=1, max_size=4
    ),
    st.sampled_from(["day", "week", "month"]),
)
def test_promotions_are_what_the_slow_loop_finds(all_series, grain):
    kind = pa.struct(
        [("starts_on", pa.date32()), ("ends_on", pa.date32()), ("display", pa.float64()), ("mailer", pa.float64())]
    )
    names = [field.name for field in kind]
    spans = pa.array(
        [s and [dict(zip(names, span, strict=True)) for span in s] for _, _, s in all_series], pa.list_(kind)
    )
    first = position(np.array([start for start, _, _ in all_series], "datetime64[D]"), grain)
    lengths = np.array([length for _, length, _ in all_series])
    found = np.stack(promotion_arrays(spans, first, lengths, grain), axis=1)

    slow = []
    for start, length, series_spans in all_series:
        for index in range(length):
            begin, following = shift(start, index, grain), shift(start, index + 1, grain)
            touching = [span for span in series_spans or [] if span[0] < following and span[1] >= begin]
            slow.append([min(1.0, sum(span[at] for span in touching)) for at in (2, 3)])
    np.testing.assert_allclose(found, slow, atol=1e-6)


@pytest.fixture(scope="module")
def locations(spark):
    return spark.createDataFrame(
        [("s1", "north"), ("s2", "north"), ("s3", None)], "location_id string, location_group string"
    )


def spans_of(spark, locations, level):
    promotions = [
        ("a", "s1", date(2024, 1, 1), date(2024, 1, 7), 1.0, 0.0),
        ("a", "s2", date(2024, 1, 1), date(2024, 1, 7), 1.0, 1.0),
        ("b", None, date(2024, 1, 8), date(2024, 1, 8), 0.0, 1.0),
    ]
    columns = "item_id string, location_id string, starts_on date, ends_on date, display double, mailer double"
    found = promotion_spans(spark.createDataFrame(promotions, columns), locations, level).collect()
    return {
        (row["item_id"], row["location_id"]): [(s["starts_on"].day, s["display"], s["mailer"]) for s in row["spans"]]
        for row in found
    }


def test_a_promotion_counts_as_the_share_of_locations_that_take_part(spark, locations):
    chain = spans_of(spark, locations, "chain")
    assert chain == {("a", "ALL"): [(1, pytest.approx(2 / 3), pytest.approx(1 / 3))], ("b", "ALL"): [(8, 0.0, 1.0)]}
    assert spans_of(spark, locations, "group") == {
        ("a", "north"): [(1, 1.0, 0.5)],
        ("b", "north"): [(8, 0.0, 1.0)],
        ("b", "s3"): [(8, 0.0, 1.0)],
    }


def test_a_series_is_one_row_of_arrays_that_reach_a_horizon_ahead(spark, locations):
    first, horizon = date(2024, 1, 5), 3
    days = [("a", "ALL", first + timedelta(i), float(i), 2.0 * i, 0.5 * i, 1) for i in range(4)] + [
        ("b", "ALL", first, 1.0, 0.0, 0.0, 1)
    ]
    columns = "item_id string, location_id string, period_start date, quantity double, revenue double, discount double, lines bigint"
    products = spark.createDataFrame(
        [("a", "food", None, None, None, None, "1 kg")],
        "item_id string, department string, category string, subcategory string, brand string, manufacturer string, size string",
    )
    promotions = spark.createDataFrame(
        [("a", "ALL", [(date(2024, 1, 8), date(2024, 1, 9), 0.5, 1.0)])],
        "item_id string, location_id string, "
        "spans array<struct<starts_on: date, ends_on: date, display: double, mailer: double>>",
    )
    demand = spark.createDataFrame(days, columns)
    found = {
        row["item_id"]: row
        for row in build_sequences(demand, products, promotions, "day", horizon, date(2024, 1, 8)).collect()
    }
    a = found["a"]
    assert (a["first_period"], a["last_period"], a["length"]) == (first, date(2024, 1, 8), 4)
    assert a["quantity"] == [0, 1, 2, 3]
    assert a["price"] == [0, 2.5, 2.5, 2.5]
    assert a["discount"] == pytest.approx([0, 0.2, 0.2, 0.2])
    assert a["display"] == [0, 0, 0, 0.5, 0.5, 0, 0]
    assert a["mailer"] == [0, 0, 0, 1, 1, 0, 0]
    assert (a["department"], a["brand"], a["size"]) == ("food", None, "1 kg")
    assert found["b"]["display"] == [0, 0, 0, 0]
    assert found["b"]["department"] is None
