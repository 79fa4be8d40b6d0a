"""Signals of places as they were known at an origin, against the obvious loop."""

from datetime import date

import numpy as np
import pytest
from small_sequences import ORIGIN, small_covariates, small_inputs, small_shared

from forecasting.features.covariates import known_at
from forecasting.models.shared import Signals, signals_of
from forecasting.periods import position


def test_values_known_at_an_origin_are_those_of_known_at():
    signals, rows = small_shared().signals, small_covariates().to_pylist()
    places = signals.place_of(["l0", "l1", "elsewhere"])
    for origin in (ORIGIN, ORIGIN - 3, ORIGIN - 60):
        periods = np.arange(origin - 9, origin + 8)
        values, known = signals.known_at(places, periods[None], np.array([[origin]]))
        for number, signal in enumerate(small_inputs().signals):
            for n, location in enumerate(("l0", "l1", "ALL")):
                row = [r for r in rows if r["signal"] == signal.name and r["location_id"] == location]
                row = row or [r for r in rows if r["signal"] == signal.name and r["location_id"] == "ALL"]
                if not row:
                    assert not known[n, :, number].any()
                    continue
                told = np.array(
                    [
                        (f["issued_on"], position(np.datetime64(f["period_start"]), "day"), f["value"])
                        for f in row[0]["forecasts"]
                    ],
                    dtype=[("issued_on", "datetime64[D]"), ("period", "i8"), ("value", "f8")],
                )
                first = int(position(np.datetime64(row[0]["first_period"]), "day"))
                observed = np.array(row[0]["observed"], np.float32)
                day = np.datetime64(int(origin), "D")
                expected, seen = known_at(observed, first, told, origin, day, 10, 7)
                np.testing.assert_array_equal(known[n, :, number], seen)
                scaled = np.where(seen, (expected - signal.mean) / signal.deviation, 0)
                np.testing.assert_allclose(values[n, :, number], scaled, rtol=1e-5, atol=1e-6)


def test_a_dataset_without_covariates_has_none():
    signals = Signals(None, (), "day")
    values, known = signals.known_at(signals.place_of(["a", "b"]), np.arange(5)[None], np.array([[2]]))
    assert values.shape == known.shape == (2, 5, 0)


def test_signals_are_brought_to_unit_size_by_what_training_saw():
    rows = small_covariates()
    until = int(position(np.datetime64(date(2023, 5, 31)), "day"))
    found = {signal.name: signal for signal in signals_of(rows, until, "day")}
    seen = np.concatenate(
        [np.array(row["observed"][:-30], np.float32) for row in rows.to_pylist() if row["signal"] == "rain"]
    )
    assert found["rain"].mean == pytest.approx(seen.mean(), rel=1e-5)
    assert found["rain"].deviation == pytest.approx(seen.std(), rel=1e-5)
    assert (found["event fair"].mean, found["event fair"].deviation) == (0.0, 1.0)
