"""Scoring: neither the batch nor its padding changes a forecast, and the future does not reach it."""

import numpy as np
import pytest
from small_sequences import ORIGIN, changed, small_rows, small_sequences, small_shared, small_spec

from forecasting.models import artifact
from forecasting.models.build import build_model
from forecasting.scoring.predict import Predictor


@pytest.fixture(scope="module")
def packed():
    return artifact.pack(small_spec(), build_model(small_spec(), small_shared(), seed=4).get_weights(), {})


def test_batches_and_padding_change_nothing(packed):
    batch = small_sequences()
    mean, quantiles = Predictor(packed, small_rows(), ORIGIN, 24).predict(batch)
    small = Predictor(packed, small_rows(), ORIGIN, 7)
    np.testing.assert_allclose(small.predict(batch)[1], quantiles, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(small.predict(batch.slice(3, 5))[0], mean[3:8], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("column", ["quantity", "discount", "views", "observed", "item_demand", "category_demand"])
def test_what_comes_after_the_origin_changes_no_forecast(packed, column):
    batch, predictor = small_sequences(), Predictor(packed, small_rows(), ORIGIN - 7, 24)
    before, after = predictor.predict(batch), predictor.predict(changed(batch, column, after=7))
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_a_series_that_has_not_begun_gets_a_forecast(packed):
    mean, quantiles = Predictor(packed, small_rows(), ORIGIN - 7, 24).predict(small_sequences())
    assert np.all(np.isfinite(mean)) and np.all(np.isfinite(quantiles))
