from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.config import load_config
from forecasting.contracts import SEQUENCES
from forecasting.features.history import histories
from forecasting.features.plans import ALWAYS
from forecasting.features.prices import last_seen, price_and_discount
from forecasting.features.sequences import Axis, Facts, _cleaned, build_sequences
from forecasting.lake import Lake
from forecasting.models.spec import GROUPS, KEYS, PAST, PLANNED, STATIC, TARGET
from forecasting.states import State

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
    seen, discount = price_and_discount(flat[:, 0], flat[:, 1], flat[:, 2])
    price = last_seen(seen, lengths)
    slow = [slow_price_and_discount(series) for series in all_series]
    np.testing.assert_allclose(price, [p for prices, _ in slow for p in prices], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(discount, [d for _, shares in slow for d in shares], rtol=1e-4, atol=1e-6)
    assert price.dtype == discount.dtype == np.float32


DEMAND = load_config().demand
FIRST, LAST = date(2024, 1, 5), date(2024, 1, 8)
ROWS = "item_id string, location_id string, period_start date, quantity double, revenue double, discount double"
SPAN = "struct<starts_on: date, ends_on: date, kind: string, share: double, depth: double, announced_on: date, display: double, mailer: double>"
PRICE = "struct<starts_on: date, ends_on: date, price: double, announced_on: date>"
SHAPES = {
    "products": "item_id string, department string, category string, subcategory string, brand string, manufacturer string, "
    "size string, launched_on date",
    "category_prices": "category string, period_start date, price double",
    "places": "location_id string, location_group string, calendar string",
    "spans": f"item_id string, location_id string, spans array<{SPAN}>",
    "place_spans": f"location_id string, place_spans array<{SPAN}>",
    "prices": f"item_id string, location_id string, prices array<{PRICE}>, general_prices array<{PRICE}>",
    "behaviour": "item_id string, location_id string, "
    "behaviour array<struct<period_start: date, views: double, carts: double, customers: double>>",
    "items": "item_id string, of_item array<struct<period_start: date, item_demand: double>>",
    "categories": "category string, location_id string, of_category array<struct<period_start: date, category_demand: double>>",
    "idle": "location_id string, idle array<struct<period_start: date, state: string>>",
    "out_of_stock": "item_id string, location_id string, out_of_stock array<date>",
}


def day(number: int) -> date:
    return FIRST + timedelta(number)


def frame_of(spark, rows, axis, settings=DEMAND, former=None, **given):
    """Sequences of rows of demand; `given` are the facts that the dataset delivers."""
    facts = {name: spark.createDataFrame(given.get(name, []), shape) for name, shape in SHAPES.items()}
    history = histories(spark.createDataFrame(rows, ROWS), axis.grain, len(rows))
    none = Lake(spark, load_config()).frame([], "sequences")
    return build_sequences(history, Facts(calendar="US", **facts), axis, settings, none if former is None else former)


def sequences_of(*args, **given):
    """The same by item."""
    return {row["item_id"]: row.asDict() for row in frame_of(*args, **given).collect()}


def test_a_series_is_one_row_of_arrays_that_reach_a_horizon_ahead(spark):
    rows = [("a", "s", day(i), float(i), 2.0 * i, 0.5 * i) for i in range(4)] + [("b", "s", day(0), 1.0, 0.0, 0.0)]
    found = sequences_of(
        spark,
        rows[::-1],  # in any order
        Axis("day", LAST, 3),
        products=[("a", "food", "oil", None, None, None, "1 kg", day(-9))],
        items=[("a", [(day(1), 9.0), (day(-2), 7.0), (day(9), 1.0)])],
        categories=[("oil", "s", [(day(3), 30.5)]), ("oil", "t", [(day(3), 7.0)])],
        places=[("s", "north", "DE-BE")],
        spans=[("a", "s", [(day(3), day(4), "coupon", 1.0, 0.3, day(1), 0.5, 1.0)])],
        place_spans=[("s", [(day(5), day(60), "fair", 1.0, None, None, 0.0, 0.0)])],
        prices=[("a", "s", [(day(2), day(3), 3.0, day(1))], [(day(0), day(4), 2.5, None)])],
        behaviour=[("a", "s", [(day(1), 7.0, 2.0, 1.0), (day(9), 1.0, 1.0, 1.0)])],
    )
    a, b = found["a"], found["b"]
    assert (a["first_period"], a["last_period"], a["length"]) == (FIRST, LAST, 4)
    assert a["quantity"] == a["cleaned"] == [0, 1, 2, 3]
    assert a["price"] == [0, 2.5, 2.5, 2.5]
    assert a["discount"] == pytest.approx([0, 0.2, 0.2, 0.2])
    assert a["display"] == [0, 0, 0, 0.5, 0.5, 0, 0]
    assert a["mailer"] == [0, 0, 0, 1, 1, 0, 0]
    assert a["promotion"] == [0, 0, 0, 1, 1, 1, 1]
    assert a["promotion_depth"] == pytest.approx([0, 0, 0, 0.3, 0.3, 0, 0])
    assert a["promotion_periods_left"] == [0, 0, 0, 2, 1, 56, 55]
    assert a["promotion_announced"] == [ALWAYS, ALWAYS, ALWAYS, 2, 3, ALWAYS, ALWAYS]
    assert a["promotion_kinds"] == {"coupon": [0, 0, 0, 1, 1, 0, 0], "fair": [0, 0, 0, 0, 0, 1, 1]}
    assert a["planned_price"] == [2.5, 2.5, 3, 3, 2.5, 0, 0]  # an own price counts before the general one
    assert a["price_announced"] == [ALWAYS, ALWAYS, 1, 2, ALWAYS, ALWAYS, ALWAYS]
    assert (a["item_demand"], a["category_demand"]) == ([0, 9, 0, 0], [0, 0, 0, 30.5])
    assert b["item_demand"] is None and b["category_demand"] is None
    assert (a["views"], a["carts"], a["customers"]) == ([0, 7, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0])
    assert (a["department"], a["brand"], a["size"], a["launched_on"]) == ("food", None, "1 kg", day(-9))
    assert (a["location_group"], a["calendar"]) == ("north", "DE-BE")
    assert b["quantity"] == [1, 0, 0, 0]
    assert b["state"] == [State.SOLD, State.ZERO, State.ZERO, State.ZERO]
    assert b["promotion_kinds"] == {"fair": [0, 0, 0, 0, 0, 1, 1]}
    assert (b["planned_price"], b["views"], b["department"]) == (None, None, None)


def test_the_price_band_is_that_of_the_first_period_whatever_comes_later(spark):
    first = {"cheap": 0.7, "usual": 1.1, "dear": 1.3, "given away": 0.0, "alone": 1.0}
    rows = [(item, "s", FIRST, 2.0, 2 * price, 0.0) for item, price in first.items()]
    later = [(item, "s", LAST, 1.0, 50.0, 0.0) for item in first]
    products = [(item, None, None if item == "alone" else "food", *[None] * 5) for item in first]
    usual = [("food", FIRST, 1.0), ("food", LAST, 7.0), ("toys", FIRST, 90.0)]
    found = sequences_of(spark, rows + later, Axis("day", LAST, 1), products=products, category_prices=usual)
    bands = {item: row["price_band"] for item, row in found.items()}
    assert bands == {"cheap": "low", "usual": "middle", "dear": "high", "given away": None, "alone": None}


def test_what_the_dataset_does_not_deliver_is_null_or_empty(spark):
    (a,) = sequences_of(spark, [("a", "s", FIRST, 1.0, 2.0, 0.0)], Axis("day", LAST, 1)).values()
    assert (a["views"], a["planned_price"], a["location_group"]) == (None, None, None)
    assert (a["calendar"], a["promotion_kinds"]) == ("US", {})
    assert (a["promotion"], a["promotion_depth"], a["promotion_announced"], a["display"]) == (None,) * 4


def test_four_kinds_of_nothing_are_told_apart(spark):
    rows = [("a", "s", day(i), 1.0, 1.0, 0.0) for i in (0, 2, 6)]
    (a,) = sequences_of(
        spark,
        rows,
        Axis("day", day(7), 1),
        idle=[("s", [(day(1), "closed"), (day(2), "closed"), (day(3), "missing")])],
        out_of_stock=[("a", "s", [day(4), day(6), day(99)])],
    ).values()
    sold, zero, closed, missing, out = State.SOLD, State.ZERO, State.CLOSED, State.MISSING, State.OUT_OF_STOCK
    # Sold on a day that was to be closed; sold out on the sixth, so that one unit is the least that was wanted.
    assert a["state"] == [sold, closed, sold, missing, out, zero, out, zero]
    assert a["treatment"] == [0, 4, 0, 4, 4, 0, 4, 0]
    assert a["cleaned"][0] == a["cleaned"][2] == 1
    assert a["cleaned"][6] >= 1  # never below what was sold
    assert a["quantity"] == [1, 0, 1, 0, 0, 0, 1, 0]  # what came stays


def test_a_stock_out_that_nobody_counted_is_inferred_and_a_spike_flagged_beside_what_came(spark):
    units = np.full(200, 6.0) + np.arange(200) % 7
    units[120:135] = 0
    units[170] = 400
    rows = [("a", "s", day(i), float(n), float(2 * n), 0.0) for i, n in enumerate(units) if n]
    axis = Axis("day", day(199), 1)
    (a,) = sequences_of(spark, rows, axis).values()
    inferred = np.flatnonzero(np.array(a["state"]) == State.OUT_OF_STOCK_INFERRED)
    assert inferred.tolist() == list(range(120, 135))
    assert a["treatment"][170] == 1
    assert a["quantity"] == units.tolist()
    np.testing.assert_allclose(np.array(a["cleaned"])[120:135], (6 + np.arange(200) % 7)[120:135], atol=2)
    capped = load_config(
        settings=["demand.cleaning.outliers=cap", "demand.cleaning.stock_out_significance=null"]
    ).demand
    (b,) = sequences_of(spark, rows, axis, capped).values()
    assert State.OUT_OF_STOCK_INFERRED not in b["state"]
    assert (b["quantity"][170], b["treatment"][170]) == (400, 2)
    assert 12 < b["cleaned"][170] < 100


def test_what_lies_before_the_first_change_stays_and_the_rest_is_as_if_all_were_made_anew(spark):
    draw = np.random.default_rng(1)
    sold = [(item, on) for item in "abc" for on in range(60) if draw.random() < 0.5 and (item != "c" or on > 45)]
    rows = [(item, "s", day(on), float(n), 1.5 * n, 0.1) for n, (item, on) in enumerate(sold)]
    rows.append(("gone", "s", day(7), 3.0, 6.0, 1.0))  # has nothing in the periods that are made anew
    groups = [(day(on), float(on)) for on in range(60)]
    facts = {
        "products": [(item, None, "oil", *[None] * 5) for item in "ab"],
        "category_prices": [("oil", day(on), 1.5) for on in range(60)],
        "idle": [("s", [(day(3), "closed"), (day(50), "missing")])],
        "out_of_stock": [("a", "s", [day(5), day(6), day(55)])],
    }

    def told(since, until):
        of_groups = [entry for entry in groups if since <= entry[0] <= until]
        lists = {"items": [("a", of_groups)], "categories": [("oil", "s", of_groups)]}
        return [row for row in rows if since <= row[2] <= until], facts | lists

    some, known = told(FIRST, day(52))
    before = frame_of(spark, some, Axis("day", day(52), 3), **known)
    some, known = told(day(40), day(59))
    added = sequences_of(spark, some, Axis("day", day(59), 3, since=day(40)), former=before, **known)
    some, known = told(FIRST, day(59))
    anew = sequences_of(spark, some, Axis("day", day(59), 3), **known)
    assert added.keys() == anew.keys() == {"a", "b", "c", "gone"}
    for item, row in anew.items():
        for name, value in row.items():
            np.testing.assert_equal(added[item][name], value, f"{item} {name}")
    assert sum(added["a"]["quantity"][:40]) > 0
    assert added["gone"]["price"][-1] == np.float32(7 / 3)


def test_the_model_reads_columns_in_the_role_that_the_contract_gives_them():
    assert TARGET in SEQUENCES.with_role("target")
    assert {*PAST, *GROUPS} <= set(SEQUENCES.with_role("past"))
    assert set(PLANNED) <= set(SEQUENCES.with_role("known future"))
    assert set(STATIC) - set(KEYS) <= set(SEQUENCES.with_role("static"))


def test_a_series_is_cleaned_the_same_in_any_company():
    settings = load_config(settings=["demand.cleaning.missing=model"]).demand
    draw = np.random.default_rng(3)
    lengths = np.array([200, 233, 61, 400])
    units = draw.poisson(5, lengths.sum()).astype(np.float32)
    state = np.where(draw.random(lengths.sum()) < 0.1, State.CLOSED, State.SOLD).astype(np.int8)
    units[state == State.CLOSED] = 0
    together = _cleaned(units, state, lengths, settings, 7).arrays["cleaned"]
    ends = np.cumsum(lengths)
    for end, length in zip(ends, lengths, strict=True):
        own = slice(end - length, end)
        alone = _cleaned(units[own], state[own], np.array([length]), settings, 7).arrays["cleaned"]
        np.testing.assert_allclose(together[own], alone, rtol=1e-5)
