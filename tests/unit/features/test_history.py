from datetime import date, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.features import history
from forecasting.features.history import MEASURES, group_rows
from forecasting.periods import shift

ROW = st.tuples(
    st.sampled_from(["a", "b", "c"]), st.sampled_from(["s1", "s2"]), st.integers(0, 20), st.integers(-3, 9).map(float)
)


@given(st.lists(ROW, min_size=1, max_size=40, unique_by=lambda row: row[:3]), st.sampled_from(["day", "week", "month"]))
def test_rows_in_any_order_become_sorted_lists_of_their_series(rows, grain):
    start = shift(date(2023, 12, 20), 0, grain)
    slow = {}
    for item, location, period, quantity in sorted(rows, key=lambda row: row[2]):
        slow.setdefault((item, location), []).append((period, quantity))
    table = pa.table(
        {
            "item_id": [row[0] for row in rows],
            "location_id": [row[1] for row in rows],
            "period_start": pa.array([shift(start, row[2], grain) for row in rows], pa.date32()),
            **{name: [row[3] * (at + 1) for row in rows] for at, name in enumerate(MEASURES)},
        }
    )
    found = {
        (row["item_id"], row["location_id"]): row for batch in group_rows(table, grain) for row in batch.to_pylist()
    }
    assert found.keys() == slow.keys()
    for series, events in slow.items():
        first = events[0][0]
        assert found[series]["first_period"] == shift(start, first, grain)
        assert found[series]["offset"] == [period - first for period, _ in events]
        for at, name in enumerate(MEASURES):
            assert found[series][name] == [quantity * (at + 1) for _, quantity in events]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_batches_hold_whole_series(monkeypatch, size):
    monkeypatch.setattr(history, "SERIES_PER_BATCH", size)
    days = [date(2024, 1, 1) + timedelta(i) for i in range(3)]
    table = pa.table(
        {
            "item_id": [f"i{i // 3}" for i in range(15)],
            "location_id": ["s"] * 15,
            "period_start": pa.array(days * 5, pa.date32()),
            **{name: [float(i) for i in range(15)] for name in MEASURES},
        }
    )
    batches = list(group_rows(table, "day"))
    assert [batch.num_rows for batch in batches] == [size] * (5 // size) + ([5 % size] if 5 % size else [])
    assert [row["quantity"] for batch in batches for row in batch.to_pylist()] == [
        [float(3 * i + j) for j in range(3)] for i in range(5)
    ]
