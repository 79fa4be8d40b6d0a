"""What a delivery was like, and when it stops the run."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.config import load_config
from forecasting.errors import QualityError
from forecasting.ingest.quality import Content, Days, delivered, quality_of, stop_if_bad

MEASURED = {
    "rows_in": 100,
    "rows_quarantined": 10,
    "hash_sum": -7,
    "first_day": date(2024, 3, 1),
    "last_day": date(2024, 3, 5),
    "warnings": {"odd": 3, "even": 0},
}


def quality(source="sales", broken=None, days=None, rows=90, **measured):
    measured = MEASURED | measured
    days = days or Days(date(2024, 3, 9), 2)
    return quality_of(
        source, "whole", measured, broken or {}, Content(rows, -7), 4, days, datetime(2024, 3, 11, 23, tzinfo=UTC)
    )


def test_a_delivery_is_described_by_what_was_measured_on_its_way():
    found = quality(broken={"type_quantity": 10})
    assert found["rows_accepted"] == 90
    assert found["warnings"] == {"odd": 3}  # rules that nothing broke are left out
    assert (found["last_day"], found["age_days"], found["gap_days"]) == (date(2024, 3, 5), 2, 2)  # the table's age
    assert (found["table_rows"], found["hash_sum"], found["table_version"]) == (90, Decimal(-7), 4)
    assert quality(days=Days())["age_days"] is None
    assert delivered(MEASURED) == Content(90, -7)
    assert delivered(MEASURED | {"rows_in": 0, "rows_quarantined": 0, "hash_sum": 0}) == Content()


@pytest.mark.parametrize(
    ("setting", "of", "expected"),
    [
        ("quality.max_quarantined_share=0.1", {"broken": {"type_quantity": 10}}, None),
        (
            "quality.max_quarantined_share=0.09",
            {"broken": {"type_quantity": 10}},
            r"at most 9\.0% .*10 of 100 \(10\.0%\)",
        ),
        ("quality.max_quarantined_share=0.05", {"broken": {"duplicate": 6, "type_quantity": 4}}, None),
        # Rows of the table that were corrected are no rows of the delivery: they neither hide bad ones nor are they copies.
        (
            "quality.max_quarantined_share=0.05",
            {"broken": {"superseded": 60, "type_quantity": 10}},
            r"came 10 of 100 \(10\.0%\)",
        ),
        ("quality.max_duplicate_share=0.05", {"broken": {"superseded": 60}, "rows_quarantined": 0}, None),
        (
            "quality.max_duplicate_share=0.05",
            {"broken": {"superseded": 10}},
            r"to be duplicates, came 10 of 100 \(10\.0%\)",
        ),
        ("quality.max_duplicate_share=0.1", {"broken": {"duplicate": 10}}, None),
        ("quality.max_duplicate_share=0.09", {"broken": {"duplicate": 10}}, r"duplicates, came 10 of 100"),
        ("quality.max_duplicate_share=0.09", {"broken": {"type_quantity": 10}}, None),
        ("quality.max_age_days=2", {}, None),
        ("quality.max_age_days=1", {}, r"at most 1 days old, came one 2 days old"),
        ("quality.max_age_days=0", {"days": Days()}, None),
        ("quality.max_gap_days=2", {}, None),
        ("quality.max_gap_days=1", {}, r"at most 1 days without any sale, came 2 between 2024-03-01 and 2024-03-05"),
        ("quality.max_age_days=null", {"rows": 0}, r"at least one row, came none"),
        ("quality.max_age_days=null", {"rows_in": 0, "rows_quarantined": 0}, None),  # a delivery of nothing, to a table
    ],
)
def test_a_delivery_that_is_worse_than_allowed_stops_the_run(setting, of, expected):
    lenient = "quality.max_quarantined_share=1"
    limits = load_config(settings=[lenient, setting]).quality
    if expected is None:
        stop_if_bad(quality(**of), limits)
    else:
        with pytest.raises(QualityError, match=f"Source sales: .*{expected}"):
            stop_if_bad(quality(**of), limits)


def test_only_sales_must_be_there_and_new():
    limits = load_config(settings=["quality.max_quarantined_share=0.1", "quality.max_age_days=0"]).quality
    stop_if_bad(quality("stock", rows=0), limits)
    with pytest.raises(QualityError, match="Source stock"):
        stop_if_bad(quality("stock", broken={"type_on_hand": 11}, rows_quarantined=11), limits)


contents = st.builds(Content, st.integers(0, 2**40), st.integers(-(2**90), 2**90))


@given(contents, contents, contents)
def test_what_a_table_holds_does_not_depend_on_the_order_of_deliveries(a, b, c):
    assert a + b + c == c + (b + a)
    assert a + b - b == a
    assert (a + b).checksum == (b + a).checksum
    assert (a.checksum == b.checksum) == (a == b)
