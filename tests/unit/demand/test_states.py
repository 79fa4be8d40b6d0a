import numpy as np

from forecasting.states import NO_RECORD, NO_STOCK, OBSERVED, State, in_states, with_inferred

EVERY = np.array([list(State)], np.int8)


def test_the_codes_that_tables_hold_do_not_change():
    assert {state.name: int(state) for state in State} == {
        "SOLD": 0,
        "ZERO": 1,
        "CLOSED": 2,
        "MISSING": 3,
        "OUT_OF_STOCK": 4,
        "OUT_OF_STOCK_INFERRED": 5,
    }


def test_every_state_is_of_one_kind():
    kinds = [in_states(EVERY, kind, np.ones(EVERY.shape, bool)) for kind in (OBSERVED, NO_RECORD, NO_STOCK)]
    np.testing.assert_array_equal(np.sum(kinds, axis=0), 1)


def test_a_period_before_the_first_of_a_series_is_in_no_state():
    assert not in_states(EVERY, tuple(State), np.zeros(EVERY.shape, bool)).any()


def test_only_a_zero_becomes_an_inferred_stock_out():
    inferred = with_inferred(EVERY, np.ones(EVERY.shape, bool))
    np.testing.assert_array_equal(inferred, [[0, 5, 2, 3, 4, 5]])
    assert inferred.dtype == np.int8
