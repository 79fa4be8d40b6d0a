"""Features of trees: each is known at its origin, is what a loop over days finds, and depends on its own series alone."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from forecasting.baselines.tree_features import CATEGORIES, LEVEL, MEANS, PROFILE, feature_names, features
from forecasting.models.batches import to_block
from forecasting.models.spec import STATIC, Signal
from forecasting.states import State
from tests.small_sequences import HORIZON, ORIGIN, changed, small_sequences, small_shared, small_spec, without

SPEC = small_spec()
NAMES = feature_names(SPEC)
SHARED = small_shared()
WIDTH = 84
ORIGINS = np.array([WIDTH - 1 - HORIZON, WIDTH - 1])
OLD = 12  # series of `batch` that reach back at least WIDTH periods


@pytest.fixture(scope="module")
def batch() -> pa.RecordBatch:
    return small_sequences(OLD, shortest=WIDTH + 7, longest=WIDTH + 40).slice(1)


def table(batch: pa.RecordBatch, origins: np.ndarray = ORIGINS, width: int = WIDTH, spec=SPEC) -> np.ndarray:
    block = to_block(batch, spec, SHARED, ORIGIN, width)
    return features(block, origins + width - WIDTH, spec, SHARED, ORIGIN - width + 1)


def named(found: np.ndarray, name: str) -> np.ndarray:
    return found[..., NAMES.index(name)]


def announced(batch: pa.RecordBatch, column: str, lead: int) -> pa.RecordBatch:
    """The same sequences, every period's plan announced `lead` periods before it."""
    at = batch.schema.get_field_index(column)
    leads = pa.array([np.full(len(values), lead) for values in batch[column].to_pylist()], pa.list_(pa.int16()))
    return batch.set_column(at, batch.schema.field(at), leads)


def history(batch: pa.RecordBatch, row: int, origin: int) -> tuple[np.ndarray, np.ndarray]:
    """Demand of a series up to an origin, one number a day, and whether stock was there to sell."""
    back = WIDTH - 1 - origin
    quantity, state = (np.asarray(batch[name][row].as_py(), float) for name in ("quantity", "state"))
    end = len(quantity) - back
    return quantity[:end], state[:end] != State.OUT_OF_STOCK


def mean_of(values, told) -> float:
    kept = [value for value, tells in zip(values, told, strict=True) if tells]
    return sum(kept) / max(len(kept), 1)


def test_there_is_one_name_for_each_feature_and_categories_are_among_them(batch):
    assert len(set(NAMES)) == len(NAMES) == table(batch).shape[-1]
    assert set(CATEGORIES) <= set(NAMES)
    assert table(batch).dtype == np.float32


def test_a_kind_of_promotion_or_a_signal_may_be_called_anything():
    inputs = replace(
        SPEC.inputs, kinds=("display", "a: [b]"), signals=(Signal("known_0", 0.0, 1.0), Signal("{", 0.0, 1.0))
    )
    names = feature_names(small_spec(inputs=inputs))
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def test_features_of_demand_agree_with_a_loop_over_days(batch):
    found = table(batch)
    for row in range(len(batch)):
        for number, origin in enumerate(ORIGINS):
            sales, told = (x[-(origin + 1) :] for x in history(batch, row, origin))
            sold = sales * told
            recent = slice(-LEVEL * 7, None)
            level = max(mean_of(sold[recent], told[recent]), np.mean(sales[recent]))
            scale = (level + level**2) ** 0.5 + 0.05
            expected = {"scale": scale, "sold_share": mean_of(sold[recent] > 0, told[recent])}
            for count in MEANS:
                expected[f"mean_{count}"] = mean_of(sold[-7 * count :], told[-7 * count :]) / scale
            for name, value in expected.items():
                assert named(found, name)[row, number] == pytest.approx([value] * HORIZON, rel=1e-4), name
            for ahead in range(HORIZON):  # the same weekday, one to eight weeks before the day
                same = [len(sold) + ahead - 7 * weeks for weeks in range(1, PROFILE + 1)]
                value = mean_of(sold[same], told[same]) / scale
                assert named(found, f"profile_{PROFILE}")[row, number, ahead] == pytest.approx(value, rel=1e-4)
                for lag, day in enumerate(same[:4]):
                    if told[day]:
                        value = named(found, f"lag_{lag + 1}")[row, number, ahead]
                        assert value == pytest.approx(sold[day] / scale, rel=1e-4)


def test_what_is_planned_is_told_with_its_change_of_price(batch):
    found = table(batch)
    for row in range(len(batch)):
        length = len(batch["quantity"][row].as_py())
        prices = batch["planned_price"][row].as_py()
        for number, origin in enumerate(ORIGINS):
            last = length - (WIDTH - 1 - origin) - 1
            assert named(found, "price")[row, number] == pytest.approx([prices[last]] * HORIZON)
            for ahead in range(1, HORIZON + 1):
                for name in ("display", "mailer"):
                    planned = batch[name][row].as_py()[last + ahead]
                    assert named(found, f"planned_{name}")[row, number, ahead - 1] == planned
                change = np.log(prices[last + ahead] / prices[last])
                assert named(found, "price_change")[row, number, ahead - 1] == pytest.approx(change, rel=1e-5)
    assert named(found, "promotions_known").all() and named(found, "price_known").all()
    assert len(np.unique(named(found, "planned_display"))) == 2 and len(np.unique(named(found, "price_change"))) == 3


def test_statics_are_the_codes_of_the_vocabulary(batch):
    codes = {"a": 1, "b": 2, None: 0, "new": 0}
    for name in set(STATIC) - {"item_id", "location_id"}:
        expected = [codes[value] for value in batch[name].to_pylist()]
        np.testing.assert_array_equal(named(table(batch), name)[:, 0, 0], expected)


@pytest.mark.parametrize(
    ("column", "told_by"),
    [("display", "promotion_announced"), ("mailer", "promotion_announced"), ("planned_price", "price_announced")],
)
def test_an_origin_knows_plans_as_far_ahead_as_they_were_announced(batch, column, told_by):
    lead = 3
    known, own = announced(batch, told_by, lead), [n for n in NAMES if n.startswith(("planned", "price", "promotions"))]
    before, late = table(known), table(changed(known, column, HORIZON - lead))  # days more than `lead` behind the first
    np.testing.assert_array_equal(before[:, 0], late[:, 0])
    soon = table(changed(known, column, HORIZON))
    different = np.stack([(named(before, name) != named(soon, name))[:, 0] for name in own]).any(axis=(0, 1))
    assert different.tolist() == [True] * lead + [False] * (HORIZON - lead)
    flag = "price_known" if column == "planned_price" else "promotions_known"
    np.testing.assert_array_equal(named(before, flag)[0, 0], [1.0] * lead + [0.0] * (HORIZON - lead))


def test_a_signal_is_told_as_it_was_foretold_not_as_it_came(batch):
    found, values, known = table(batch), [], []
    for ahead in range(1, HORIZON + 1):
        days = np.array([[ORIGIN + ahead - HORIZON], [ORIGIN + ahead]]).T
        places = SHARED.signals.place_of(batch["location_id"].to_pylist())
        value, told = SHARED.signals.known_at(places, days, np.array([[ORIGIN - HORIZON, ORIGIN]]))
        values.append(value[..., 0]), known.append(told[..., 0])
    np.testing.assert_allclose(named(found, "signal_0"), np.stack(values, axis=-1))
    np.testing.assert_array_equal(named(found, "signal_known_0"), np.stack(known, axis=-1))
    assert set(np.unique(known)) == {0.0, 1.0}


def test_demand_of_groups_is_told_as_means(batch):
    found = table(batch)
    for row, lists in enumerate(batch["category_demand"].to_pylist()):
        known = lists[: len(lists) - HORIZON] if len(lists) > HORIZON else []
        for count in (1, 4):
            last = known[-7 * count :]
            told = named(found, f"mean_{count}_of_category_demand")[row, 0]
            np.testing.assert_allclose(told, sum(last) / max(len(last), 1), rtol=1e-5)


@pytest.mark.parametrize(
    "column", ["quantity", "price", "discount", "views", "state", "observed", "item_demand", "category_demand"]
)
def test_nothing_that_happens_behind_an_origin_is_read(batch, column):
    batch = without(batch, "planned_price")
    one, other = (table(each, ORIGINS[:1]) for each in (batch, changed(batch, column, HORIZON, add=1)))
    np.testing.assert_array_equal(one, other)


def test_the_same_day_a_year_ago_is_told_where_history_reaches_back():
    long = small_sequences(4, shortest=600, longest=620).slice(1)
    width, found = 400, table(long, np.array([WIDTH - 1]), 400)
    for row in range(len(long)):
        quantity, state = (np.asarray(long[name][row].as_py(), float) for name in ("quantity", "state"))
        for ahead in range(1, HORIZON + 1):
            day = len(quantity) - 1 + ahead - 364
            if state[day] != State.OUT_OF_STOCK:
                year_ago = named(found, "year_ago")[row, 0, ahead - 1] * named(found, "scale")[row, 0, 0]
                assert year_ago == pytest.approx(quantity[day], abs=1e-4)
    assert width > 364 and np.isnan(named(table(long), "year_ago")).all()


def test_of_a_horizon_beyond_a_year_the_end_has_no_year_ago():
    spec = replace(SPEC, horizon=400)
    long = small_sequences(4, shortest=600, longest=620).slice(1)
    found = named(table(long, np.array([WIDTH - 30]), 400, spec), "year_ago")
    assert np.isnan(found[..., 364:]).all() and not np.isnan(found[..., :364]).any()


def test_a_year_ago_is_told_only_where_training_saw_every_time_of_year_twice():
    long = small_sequences(4, shortest=600, longest=620).slice(1)
    once = replace(SPEC, inputs=replace(SPEC.inputs, yearly=False))
    assert np.isnan(named(table(long, np.array([WIDTH - 1]), 400, once), "year_ago")).all()


def test_features_of_a_series_do_not_depend_on_its_companions():
    batch = small_sequences()
    whole = table(batch)
    for row in (0, 3, 17):
        np.testing.assert_array_equal(table(batch.slice(row, 1)), whole[row : row + 1])


def test_only_history_that_is_not_there_is_unknown():
    found = table(small_sequences())
    unknown = {name for name in NAMES if np.isnan(named(found, name)).any()}
    assert unknown <= {"year_ago", f"profile_{PROFILE}", *(f"lag_{number}" for number in range(1, 5))}
    assert not np.isinf(found).any()
