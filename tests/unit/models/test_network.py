"""The network, with each encoder: causal, known future only as far as known, quantiles in order."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from small_sequences import (
    ORIGIN,
    changed,
    small_inputs,
    small_rows,
    small_sequences,
    small_shared,
    small_spec,
    without,
)

from forecasting.models.batches import network_input, to_block
from forecasting.models.build import build_model
from forecasting.models.encoders import dropout
from forecasting.models.loss import pinball
from forecasting.models.reading import _days_ahead, _since_sale, _year_ago, levels
from forecasting.models.spec import GROUPS
from forecasting.states import State

ENCODERS = ("transformer", "lstm", "gru", "rnn")


@pytest.fixture(scope="module", params=ENCODERS)
def model(request):
    return built(encoder=request.param)


def built(**changes):
    return build_model(small_spec(**changes), small_shared(), seed=3)


def inputs_of(batch, spec, origins, plan=1.0, shared=None):
    shared = shared or small_shared()
    block = to_block(batch, spec, shared, ORIGIN, spec.context)
    inputs = network_input(block, np.arange(len(block)), 0, origins, spec, shared, ORIGIN - spec.context + 1)
    return inputs | {"plan": np.full(len(block), plan, np.float32)}


def answers(model, batch, origins, **options):
    origins = np.asarray(origins, np.int32)
    return model(inputs_of(batch, model.spec, origins, **options), origins)


def test_quantiles_rise_and_are_never_negative(model):
    quantiles, mean = answers(model, small_sequences(), np.arange(model.spec.patches))
    assert quantiles.shape == (24, model.spec.patches, model.spec.horizon, 9)
    assert np.all(np.diff(quantiles, axis=-1) >= 0) and np.all(quantiles >= 0) and np.all(mean >= 0)


@pytest.mark.parametrize("head", ["mixture", "negative_binomial", "quantiles"])
@pytest.mark.parametrize("members", [1, 2])
def test_every_head_gives_quantiles_that_rise_and_a_mean(head, members):
    model = built(head=head, members=members)
    quantiles, mean = answers(model, small_sequences(), [model.spec.patches - 1])
    assert quantiles.shape == (24, 1, model.spec.horizon, 9)
    assert np.all(np.diff(quantiles, axis=-1) >= 0) and np.all(quantiles >= 0) and np.all(mean > 0)


@pytest.mark.parametrize("group", ["attributes", "behaviour", "events", "group_demand", "promotions", "signals"])
def test_inputs_left_out_change_nothing_and_the_others_do(group):
    columns = {
        "attributes": ("category", "brand"),
        "behaviour": ("discount", "views"),
        "group_demand": GROUPS,
        "promotions": ("display", "mailer"),
    }
    batch, rows = small_sequences(), small_rows()
    batches = batch, without(batch, *columns.get(group, ()))
    others = {
        "events": replace(rows, calendar=rows.calendar.assign(holiday_names="Christmas Day")),
        "signals": replace(rows, covariates=rows.covariates.slice(0, 0)),
    }
    for inputs, same in ((small_inputs(), False), (small_inputs().without([group]), True)):
        shared = [each.of(inputs) for each in (rows, others.get(group, rows))]
        model = build_model(small_spec(inputs=inputs), shared[0], seed=3)
        for layer in model._flatten_layers():
            if layer.name == "head_events":  # which begins without an effect
                layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()])
        last = [model.spec.patches - 1]
        one, other = (answers(model, b, last, shared=each)[1] for b, each in zip(batches, shared, strict=True))
        assert np.array_equal(one, other) == same


def test_what_the_first_sale_tells_is_unknown_before_it():
    """A model that knew the price band of an item that has not sold would know the price that it will have."""
    batch, model = small_sequences(), built()
    at = batch.schema.get_field_index("price_band")
    other = batch.set_column(
        at, "price_band", pa.array(["b" if band == "a" else "a" for band in batch["price_band"].to_pylist()])
    )
    origins = np.arange(model.spec.patches)
    one, two = (answers(model, each, origins)[1].numpy() for each in (batch, other))
    sold = np.array(
        [[length > 7 * (model.spec.patches - 1 - o) for o in origins] for length in batch["length"].to_pylist()]
    )
    assert sold.any() and not sold.all()
    differs = (one != two).any(axis=-1)
    assert not differs[~sold].any() and differs[sold].mean() > 0.9


def test_more_returned_than_sold_leaves_forecasts_finite(model):
    returned = changed(small_sequences(), "quantity", after=10, add=-300.0)
    quantiles, mean = answers(model, returned, np.arange(model.spec.patches))
    assert np.isfinite(quantiles).all() and np.isfinite(mean).all()


@pytest.mark.parametrize("column", ["quantity", "price", "discount", "views", "state", "observed", *GROUPS])
def test_an_origin_sees_nothing_behind_it(model, column):
    batch, patches = without(small_sequences(), "planned_price"), model.spec.patches
    late = changed(batch, column, after=14, add={"observed": -1, "state": State.OUT_OF_STOCK}.get(column, 5))
    early = np.arange(patches - 2)
    before, after = (answers(model, b, early) for b in (batch, late))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    last = np.arange(patches - 2, patches)
    before, after = (answers(model, b, last)[1] for b in (batch, late))
    assert not np.array_equal(before, after)  # the change does reach the origins that may know it


@pytest.mark.parametrize("column", ["display", "mailer"])
def test_a_promotion_reaches_only_days_within_its_lead(column):
    model, batch = built(promotion_lead=3), small_sequences()
    last = np.array([model.spec.patches - 1])
    far, near = changed(batch, column, after=-3, add=1.0), changed(batch, column, after=-2, add=1.0)
    base, reached = answers(model, batch, last), answers(model, near, last)
    for before, after in zip(base, answers(model, far, last), strict=True):
        np.testing.assert_array_equal(before, after)
    assert not np.array_equal(base[1], reached[1])


@pytest.mark.parametrize(
    ("column", "announced"), [("display", "promotion_announced"), ("planned_price", "price_announced")]
)
def test_every_origin_sees_only_what_was_announced_by_it(column, announced):
    """Two days ahead: of the third day ahead of any origin, nothing is known, though the block holds it."""
    model, batch = built(), with_lead(small_sequences(shortest=100), announced, 2)
    origins = np.arange(model.spec.patches - 1)
    for back in range(1, 14):  # each day of two patches
        late = changed(batch, column, after=back, add=1.0)
        late = changed(late, column, after=back - 1, add=-1.0)  # so that one day alone is another
        before, after = (answers(model, b, origins)[1].numpy() for b in (batch, late))
        day = 7 * model.spec.patches - back
        for place, origin in enumerate(origins):
            ahead = day - (7 * (origin + 1) - 1)
            if ahead > 2:
                np.testing.assert_array_equal(before[:, place], after[:, place])
            elif ahead > 0:
                assert not np.array_equal(before[:, place], after[:, place])


def with_lead(batch, column, lead):
    values = pa.array([np.full(len(row), lead) for row in batch[column].to_pylist()], pa.list_(pa.int16()))
    return batch.set_column(batch.schema.get_field_index(column), column, values)


def test_a_hidden_plan_changes_nothing_by_its_content():
    model, batch = built(), small_sequences()
    last = np.array([model.spec.patches - 1])
    other = changed(batch, "display", after=0, add=1.0)
    np.testing.assert_array_equal(*(answers(model, b, last, plan=0.0)[0] for b in (batch, other)))


def test_weather_is_known_as_it_was_forecast(model):
    """What came of the weather behind the origin changes nothing; what was forecast of it by then does."""
    last, batch, shared = np.array([model.spec.patches - 2]), small_sequences(), small_shared()
    base = answers(model, batch, last)[1]
    came, said = small_shared(), small_shared()
    came.signals._observed[..., -7:] += 3.0  # the block's last patch lies behind the origin
    said.signals._told[:] += 3.0
    np.testing.assert_array_equal(base, answers(model, batch, last, shared=came)[1])
    assert not np.array_equal(base, answers(model, batch, last, shared=said)[1])
    assert len(shared.signals) == 2


def test_levels_equal_the_obvious_loop():
    rng = np.random.default_rng(1)
    observed = (np.arange(70) >= rng.integers(0, 60, (5, 1))).astype(np.float32)
    quantity = rng.poisson(2.0, (5, 70)).astype(np.float32) * observed
    level, scale = levels(quantity, observed, observed, patch=7)
    for row in range(5):
        for patch in range(10):
            stop, start = 7 * (patch + 1), max(0, 7 * (patch - 7))
            mean = quantity[row, :stop].sum() / max(observed[row, :stop].sum(), 1)
            expected = (quantity[row, start:stop].sum() + 7 * mean) / (observed[row, start:stop].sum() + 7)
            assert float(level[row, patch]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
            assert float(scale[row, patch]) == pytest.approx(np.sqrt(expected + expected**2) + 0.05, rel=1e-5, abs=1e-6)


def test_what_was_sold_out_of_stock_is_the_least_that_the_level_is():
    """A bakery whose shelf is empty every evening sells 40 a day; of which the first weeks tell that 10 were all that was wanted."""
    quantity, observed = np.full((2, 70), 40, np.float32), np.ones((2, 70), np.float32)
    told = np.zeros((2, 70), np.float32)
    quantity[1, :14], told[1, :14] = 10, 1
    level, _ = levels(quantity, observed, told, patch=7)
    assert float(level[0, -1]) == pytest.approx(40) and float(level[1, 1]) == pytest.approx(10)
    assert 35 < float(level[1, -1]) < 40


def test_pinball_equals_the_obvious_loop():
    rng = np.random.default_rng(2)
    actual, quantiles, taus = rng.random(6), rng.random((6, 3)), [0.1, 0.5, 0.9]
    expected = [
        sum(max(t * (y - q), (t - 1) * (y - q)) for t, q in zip(taus, row, strict=True))
        for y, row in zip(actual, quantiles, strict=True)
    ]
    np.testing.assert_allclose(
        pinball(tf.constant(actual), tf.constant(quantiles), tf.constant(taus, tf.float64)), expected
    )


def test_periods_since_a_sale_equal_the_obvious_loop():
    quantity = (np.random.default_rng(5).random((20, 35)) < 0.08).astype(np.float32)
    found = _since_sale(tf.constant(quantity), 7).numpy()
    for row, patch in np.ndindex(20, 5):
        sold = np.flatnonzero(quantity[row, : 7 * (patch + 1)])
        assert found[row, patch] == 7 * (patch + 1) - (sold[-1] + 1 if len(sold) else 0)


def test_a_year_ago_is_read_where_the_context_reaches_back():
    spec = small_spec(context=371, patch=7)
    batch = small_sequences(shortest=390, longest=391)
    origins = np.array([spec.patches - 2, spec.patches - 1], np.int32)
    inputs = inputs_of(batch, spec, origins)
    inputs = {name: tf.constant(value) for name, value in inputs.items()}
    told = _year_ago(inputs, tf.constant(origins), tf.ones([24, 2, 1]), spec).numpy()
    assert not told[:, 0, :3].any() and told[1:, 1, :, 2].all()  # 364 days before the last origin's first day is day 7
    row = 5
    np.testing.assert_allclose(told[row, 1, :, 0], np.log1p(inputs["quantity"][row, 7:14]), rtol=1e-6)
    around = [np.mean(inputs["quantity"][row, day - 3 : day + 4]) for day in range(7, 14)]
    np.testing.assert_allclose(told[row, 1, :, 1], np.log1p(around), rtol=1e-5)


def test_of_a_horizon_beyond_a_year_the_end_has_no_year_ago():
    spec = small_spec(context=371, horizon=400)
    batch, origins = small_sequences(shortest=390, longest=391), np.array([spec.patches - 1], np.int32)
    inputs = {name: tf.constant(value) for name, value in inputs_of(batch, spec, origins).items()}
    told = _year_ago(inputs, tf.constant(origins), tf.ones([24, 1, 1]), spec).numpy()
    assert told[1:, 0, 7:300, 2].all() and not told[:, 0, 364:].any()
    quantiles, _ = build_model(spec, small_shared(), seed=3)(inputs, origins)
    assert np.isfinite(quantiles).all()


@pytest.mark.parametrize("yearly", [True, False])
def test_a_year_ago_is_read_only_where_training_saw_every_time_of_year_twice(yearly):
    spec = small_spec(context=371, patch=7)
    spec = replace(spec, inputs=replace(spec.inputs, yearly=yearly))
    origins = np.array([spec.patches - 1], np.int32)
    inputs = inputs_of(small_sequences(shortest=390, longest=391), spec, origins)
    other = {name: np.array(value) for name, value in inputs.items()}
    other["quantity"][:, 7:14] += 5
    scale = tf.ones([24, 1, 1])
    one, two = (
        _days_ahead({k: tf.constant(v) for k, v in each.items()}, tf.constant(origins), scale, spec).numpy()
        for each in (inputs, other)
    )
    assert np.array_equal(one, two) != yearly


def test_members_answer_together():
    """The mean is that of their means, and quantiles lie between theirs (to a unit)."""
    spec = small_spec(members=2)
    both, origins = build_model(spec, small_shared(), seed=3), np.arange(spec.patches, dtype=np.int32)
    weights, alone = both.get_weights(), built()
    for weight in weights:
        weight += np.random.default_rng(1).normal(0, 0.1, weight.shape).astype(weight.dtype)
    both.set_weights(weights)
    half, said = len(weights) // 2, []
    for part in (weights[:half], weights[half:]):
        alone.set_weights(part)
        said.append([x.numpy() for x in answers(alone, small_sequences(), origins)])
    quantiles, mean = (x.numpy() for x in answers(both, small_sequences(), origins))
    assert not np.allclose(said[0][1], said[1][1], rtol=0.01)
    np.testing.assert_allclose(mean, (said[0][1] + said[1][1]) / 2, rtol=1e-5)
    assert np.all(quantiles >= np.minimum(said[0][0], said[1][0]) - 1e-3)
    assert np.all(quantiles <= np.maximum(said[0][0], said[1][0]) + 1e-3)


def test_the_same_seed_gives_the_same_weights():
    one, same, other = (build_model(small_spec(), small_shared(), seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("width", [64, 6])
def test_dropout_leaves_out_as_many_as_it_says_and_makes_up_for_them(width):
    x = tf.ones([40, 50, width])
    one, again, elsewhere = (dropout(x, 0.25, tf.constant([1, 2]), place).numpy() for place in (0, 0, 1))
    assert (one == again).all() and (one != elsewhere).any()
    assert set(np.unique(one)) == {np.float32(0.0), np.float32(4 / 3)}
    np.testing.assert_allclose((one == 0).mean(), 0.25, atol=4 * (0.25 * 0.75 / x.numpy().size) ** 0.5)
    assert (dropout(x, 0.25, None, 0) == x).numpy().all()


def test_half_the_precision_changes_forecasts_by_little():
    whole, half = built(), built(precision="bfloat16")
    half.set_weights(whole.get_weights())
    assert {str(weight.dtype) for weight in half.weights} == {"float32"}
    origins = np.arange(whole.spec.patches)
    (_, exact), (quantiles, mean) = (answers(model, small_sequences(), origins) for model in (whole, half))
    assert quantiles.dtype == mean.dtype == tf.float32
    np.testing.assert_allclose(mean, exact, rtol=0.05, atol=0.01)
    assert np.abs(mean - exact).max() > 0
