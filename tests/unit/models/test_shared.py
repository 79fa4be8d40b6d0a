"""Signals of places as they were known at an origin, against the obvious loop."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sequences import ORIGIN, small_covariates, small_inputs, small_shared

from forecasting.models.shared import Signals, signals_of
from forecasting.models.spec import Signal
from forecasting.periods import position


def as_known(row: dict, period: int, origin: int) -> float | None:
    """The slow loop: what a row of `covariates` tells at an origin of one period; None for nothing."""
    first = int(position(np.datetime64(row["first_period"]), "day"))
    if (
        period <= origin
        and 0 <= period - first < len(row["observed"])
        and not np.isnan(row["observed"][period - first])
    ):
        return row["observed"][period - first]
    number = {
        name: lambda f, name=name: int(position(np.datetime64(f[name]), "day"))
        for name in ("issued_on", "period_start")
    }
    said = [f for f in row["forecasts"] if number["period_start"](f) == period and number["issued_on"](f) <= origin]
    return max(said, key=number["issued_on"])["value"] if said else None


def test_a_place_knows_its_own_signals_and_of_others_those_of_everywhere():
    signals, rows = small_shared().signals, small_covariates().to_pylist()
    found = {(row["signal"], row["location_id"]): row for row in rows}
    places = ("l0", "l1", "elsewhere")
    for origin in (ORIGIN, ORIGIN - 3, ORIGIN - 60):
        periods = np.arange(origin - 9, origin + 8)
        values, known = signals.known_at(signals.place_of(places), periods[None], np.array([[origin]]))
        for number, signal in enumerate(small_inputs().signals):
            for n, place in enumerate(places):
                row = found.get((signal.name, place)) or found.get((signal.name, "ALL"))
                told = [as_known(row, period, origin) if row else None for period in periods]
                np.testing.assert_array_equal(known[n, :, number], [each is not None for each in told])
                scaled = [0.0 if each is None else (each - signal.mean) / signal.deviation for each in told]
                np.testing.assert_allclose(values[n, :, number], scaled, rtol=1e-4, atol=1e-5)
    assert ("rain", "l1") not in found and (
        "event fair",
        "l1",
    ) in found  # a place with one of its own, and one of everywhere


DAY = date(2024, 1, 1)
FORECAST = st.tuples(st.integers(-5, 12), st.integers(0, 20), st.integers(0, 50))


def one_signal(observed, first, forecasts) -> Signals:
    struct = pa.struct({"issued_on": pa.date32(), "period_start": pa.date32(), "value": pa.float64()})
    told = [
        {"issued_on": DAY + timedelta(issued), "period_start": DAY + timedelta(period), "value": float(value)}
        for issued, period, value in forecasts
    ]
    columns = {
        "signal": ["x"],
        "location_id": ["ALL"],
        "first_period": pa.array([DAY + timedelta(first)], pa.date32()),
        "observed": pa.array([observed], pa.list_(pa.float32())),
        "forecasts": pa.array([told], pa.list_(struct)),
    }
    return Signals(pa.table(columns), (Signal("x", 0.0, 1.0),), "day")


@given(
    st.lists(st.one_of(st.integers(0, 9).map(float), st.just(float("nan"))), max_size=15),
    st.integers(0, 6),
    st.lists(FORECAST, max_size=12, unique_by=lambda f: f[:2]),
    st.integers(2, 10),
)
def test_as_of_an_origin_only_what_was_known_by_then_is_seen(observed, first, forecasts, origin):
    """The future of observations and forecasts changes nothing."""
    zero = int(position(np.datetime64(DAY), "day"))
    periods = np.arange(origin - 5, origin + 6)

    def known_of(signals):
        found = signals.known_at(signals.place_of(["anywhere"]), zero + periods[None], np.array([[zero + origin]]))
        return [part[0, :, 0] for part in found]

    values, known = known_of(one_signal(observed, first, forecasts))
    for at, period in enumerate(periods):
        inside = period <= origin and 0 <= period - first < len(observed)
        expected = observed[period - first] if inside and not np.isnan(observed[period - first]) else None
        if expected is None:
            said = sorted((issued, value) for issued, p, value in forecasts if p == period and issued <= origin)
            expected = said[-1][1] if said else None
        assert (values[at], known[at]) == ((0, 0) if expected is None else (expected, 1))
    past = [value if first + i <= origin else 99.0 for i, value in enumerate(observed)]
    later = [f for f in forecasts if f[0] <= origin] + [(origin + 1, origin + 1, 77)]
    for one, other in zip((values, known), known_of(one_signal(past, first, later)), strict=True):
        np.testing.assert_array_equal(one, other)


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
