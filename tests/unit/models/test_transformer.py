"""The network: causal, known future only as far as known, quantiles in order."""

import numpy as np
import pytest
import tensorflow as tf
from small_sequences import ORIGIN, changed, small_axis, small_sequences, small_spec

from forecasting.models.batches import to_block
from forecasting.models.build import build_model
from forecasting.models.loss import pinball
from forecasting.models.transformer import levels


@pytest.fixture(scope="module")
def model():
    return build_model(small_spec(), seed=3)


def inputs_of(batch, spec, plan=1.0):
    block = to_block(batch, spec, ORIGIN, spec.context)
    names = ("quantity", "observed", "past", "known", "static")
    axis = small_axis().window(ORIGIN - spec.context + 1, ORIGIN + spec.horizon + 1)
    return {name: getattr(block, name) for name in names} | {
        "calendar": axis,
        "plan": np.full(len(block), plan, np.float32),
    }


def test_quantiles_rise_and_are_never_negative(model):
    quantiles, mean = model(inputs_of(small_sequences(), model.spec), tf.range(model.spec.patches))
    assert quantiles.shape == (24, model.spec.patches, model.spec.horizon, 9)
    assert np.all(np.diff(quantiles, axis=-1) >= 0) and np.all(quantiles >= 0) and np.all(mean >= 0)


@pytest.mark.parametrize("column", ["quantity", "price", "discount"])
def test_an_origin_sees_nothing_behind_it(model, column):
    batch, spec = small_sequences(), model.spec
    early = tf.range(spec.patches - 2)
    before, after = (model(inputs_of(b, spec), early)[0] for b in (batch, changed(batch, column, after=14)))
    np.testing.assert_array_equal(before, after)
    late = tf.range(spec.patches - 2, spec.patches)
    before, after = (model(inputs_of(b, spec), late)[1] for b in (batch, changed(batch, column, after=14)))
    assert not np.array_equal(before, after)  # the change does reach the origins that may know it


@pytest.mark.parametrize("column", ["display", "mailer"])
def test_a_promotion_reaches_only_days_within_its_lead(column):
    spec = small_spec(promotion_lead=3)
    model, last = build_model(spec, seed=3), tf.constant([spec.patches - 1])
    batch = small_sequences()
    far, near = changed(batch, column, after=-3, add=1.0), changed(batch, column, after=-2, add=1.0)
    base, reached = model(inputs_of(batch, spec), last), model(inputs_of(near, spec), last)
    for before, after in zip(base, model(inputs_of(far, spec), last), strict=True):
        np.testing.assert_array_equal(before, after)
    assert not np.array_equal(base[1], reached[1])


def test_a_hidden_plan_changes_nothing_by_its_content(model):
    batch, last = small_sequences(), tf.constant([model.spec.patches - 1])
    hidden = (
        model(inputs_of(b, model.spec, plan=0.0), last)[0] for b in (batch, changed(batch, "display", after=0, add=1.0))
    )
    np.testing.assert_array_equal(*hidden)


def test_levels_equal_the_obvious_loop():
    rng = np.random.default_rng(1)
    observed = (np.arange(70) >= rng.integers(0, 60, (5, 1))).astype(np.float32)
    quantity = rng.poisson(2.0, (5, 70)).astype(np.float32) * observed
    level, scale = levels(quantity, observed, patch=7)
    for row in range(5):
        for patch in range(10):
            stop, start = 7 * (patch + 1), max(0, 7 * (patch - 7))
            mean = quantity[row, :stop].sum() / max(observed[row, :stop].sum(), 1)
            expected = (quantity[row, start:stop].sum() + 7 * mean) / (observed[row, start:stop].sum() + 7)
            assert float(level[row, patch]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
            assert float(scale[row, patch]) == pytest.approx(np.sqrt(expected + expected**2) + 0.05, rel=1e-5, abs=1e-6)


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


def test_the_same_seed_gives_the_same_weights():
    one, same, other = (build_model(small_spec(), seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
