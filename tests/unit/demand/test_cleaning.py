import numpy as np
import pytest

from forecasting.demand.cleaning import CleaningSettings, Treatment, clean
from forecasting.demand.detection import outlier_thresholds
from forecasting.demand.imputation import METHODS, fill
from forecasting.states import State

WEEK = 7


def blocks(series=12, days=300):
    """Demand of 5 a day, 15 from day 230 on; first periods differ by series.

    A spike at 150, a return at 170, closed or missing at 200-202, out of stock at 210-214.
    """
    rng = np.random.default_rng(2)
    level = np.where(np.arange(days) >= 230, 15.0, 5.0)
    quantity = rng.poisson(level, (series, days)).astype(np.float32)
    quantity[:, 150], quantity[:, 170] = 200, -150
    state = np.where(quantity == 0, State.ZERO, State.SOLD).astype(np.int8)
    for periods, code in ((slice(200, 202), State.CLOSED), (slice(202, 203), State.MISSING)):
        quantity[:, periods], state[:, periods] = 0, code
    quantity[:, 210:215] = 0
    quantity[:, 210] = 40  # sold before the stock ran out
    state[:, 210:212], state[:, 212:215] = State.OUT_OF_STOCK, State.OUT_OF_STOCK_INFERRED
    alive = np.arange(days) >= np.arange(series)[:, None]
    return quantity, state, alive


UNKNOWN = [200, 201, 202, 210, 211, 212, 213, 214]


def test_by_default_only_what_is_unknown_is_masked():
    quantity, state, alive = blocks()
    before = quantity.copy()
    cleaned, treatment = clean(quantity, state, alive, CleaningSettings(), WEEK)
    np.testing.assert_array_equal(quantity, before)
    expected = np.where(alive, quantity, np.nan)
    expected[:, UNKNOWN] = np.nan
    np.testing.assert_array_equal(cleaned, expected)
    assert (treatment[:, UNKNOWN] == Treatment.MASKED).all()
    assert (np.delete(treatment, UNKNOWN, axis=1) == Treatment.NONE).all()
    assert (cleaned.dtype, treatment.dtype) == (np.float32, np.int8)


@pytest.mark.parametrize("setting", ["flag", "cap", "mask"])
def test_outliers_are_treated_as_set(setting):
    quantity, state, alive = blocks()
    cleaned, treatment = clean(quantity, state, alive, CleaningSettings(outliers=setting), WEEK)
    code = {"flag": Treatment.FLAGGED, "cap": Treatment.CAPPED, "mask": Treatment.MASKED}[setting]
    assert (treatment[:, [150, 170]] == code).all()
    if setting == "flag":
        np.testing.assert_array_equal(cleaned[:, [150, 170]], quantity[:, [150, 170]])
    elif setting == "mask":
        assert np.isnan(cleaned[:, [150, 170]]).all()
    else:
        np.testing.assert_array_equal(cleaned[:, 150], outlier_thresholds(quantity, state, alive, WEEK)[:, 150])
        assert not cleaned[:, 170].any()
    usual = [t for t in range(20, 200) if t not in (150, 170)]
    np.testing.assert_array_equal(cleaned[:, usual], quantity[:, usual])


@pytest.mark.parametrize("method", [method for method in METHODS if method != "none"])
def test_both_kinds_of_unknown_periods_are_filled_from_what_is_known(method):
    quantity, state, alive = blocks()
    cleaned, treatment = clean(quantity, state, alive, CleaningSettings(missing=method, out_of_stock=method), WEEK)
    unknown = np.isin(np.arange(quantity.shape[1]), UNKNOWN)
    known = np.where(alive & ~unknown, quantity, np.nan)
    expected = fill(known, alive & unknown, method, WEEK)
    expected[:, 210:215] = np.maximum(expected, quantity)[:, 210:215]
    np.testing.assert_allclose(cleaned, expected, rtol=1e-5)
    assert (treatment[:, UNKNOWN] == Treatment.IMPUTED).all()


def test_a_filled_stock_out_is_at_least_what_was_sold():
    cleaned, _ = clean(*blocks(), CleaningSettings(out_of_stock="mean"), WEEK)
    assert (cleaned[:, 210] == 40).all()
    assert (cleaned[:, 211:215] < 10).all()
    assert (cleaned[:, 211:215] > 1).all()


def test_a_fill_does_not_rest_on_an_outlier_that_is_masked():
    quantity, state, alive = blocks()
    quantity[:, 199] = 300
    cleaned, _ = clean(quantity, state, alive, CleaningSettings(outliers="mask", missing="forward_fill"), WEEK)
    np.testing.assert_array_equal(cleaned[:, 200], quantity[:, 198])


def test_what_cannot_be_filled_counts_as_masked():
    quantity, state, alive = blocks(series=1)
    state[0, :5] = State.MISSING
    cleaned, treatment = clean(quantity, state, alive, CleaningSettings(missing="mean"), WEEK)
    assert np.isnan(cleaned[0, :5]).all()
    assert (treatment[0, :5] == Treatment.MASKED).all()


def test_history_before_a_masked_shift_does_not_count():
    quantity, state, alive = blocks()
    cleaned, treatment = clean(quantity, state, alive, CleaningSettings(level_shifts="mask", missing="mean"), WEEK)
    assert np.isnan(cleaned[:, :225]).all()
    assert (treatment[:, :225][alive[:, :225]] == Treatment.MASKED).all()
    assert (treatment[~alive] == Treatment.NONE).all()
    np.testing.assert_array_equal(cleaned[:, 236:], quantity[:, 236:])


def test_a_flagged_shift_is_noted_where_it_is_confirmed_and_changes_nothing():
    quantity, state, alive = blocks()
    cleaned, treatment = clean(quantity, state, alive, CleaningSettings(level_shifts="flag"), WEEK)
    np.testing.assert_array_equal((treatment == Treatment.LEVEL_SHIFT).sum(axis=1), 1)
    np.testing.assert_array_equal(cleaned, clean(quantity, state, alive, CleaningSettings(), WEEK)[0])


def test_a_series_alone_is_cleaned_as_in_a_block():
    parts = blocks()
    settings = CleaningSettings(outliers="cap", level_shifts="mask", missing="model", out_of_stock="seasonal")
    together = clean(*parts, settings, WEEK)
    for row in range(len(parts[0])):
        cleaned, treatment = clean(*(part[row : row + 1] for part in parts), settings, WEEK)
        np.testing.assert_allclose(cleaned[0], together[0][row], rtol=1e-5)
        np.testing.assert_array_equal(treatment[0], together[1][row])


@pytest.mark.parametrize("name", ["outliers", "level_shifts", "missing", "out_of_stock"])
def test_an_unknown_setting_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} is one of .*, not 'delete'"):
        CleaningSettings(**{name: "delete"})
