"""Lines that come twice and lines that correct others: what counts, whatever came first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from small_shop import COLUMNS, GOOD, HEADER, described, write_lines

from forecasting.ingest import copies
from forecasting.ingest.check import check_source
from forecasting.ingest.copies import Judged, repeated_hashes, superseded, without_copies
from forecasting.ingest.dataset import Dataset

#: Lines have a key, the minute at which this version of them was recorded, and a quantity. Each case has an item of its own,
#: so that many cases take no longer than one.
CORRECTED = {
    "columns": {
        "order_id": "order",
        "item_id": "case",
        "location_id": "'s'",
        "sold_on": "DATE'2024-03-01'",
        "quantity": "units",
        "recorded_at": "timestamp_seconds(60 * minute)",
    },
    "unique": ["order_id", "item_id"],
    "latest_by": "recorded_at",
}
SHOP = Dataset.model_validate(described(CORRECTED))
SOURCE = SHOP.sources["sales"]
CONTRACT = ("_record", "_ok", "_broken")
Line = tuple[str | None, int | None, float]


def versions(spark: SparkSession, cases: Sequence[Sequence[Line]]) -> DataFrame:
    """Checked lines of (order, minute at which it was recorded, quantity)."""
    raw = spark.createDataFrame(
        [(str(case), *line, "f") for case, lines in enumerate(cases) for line in lines],
        "case string, order string, minute int, units int, source_file string",
    )
    return check_source(raw, SHOP, "sales")


def in_table(checked: DataFrame) -> DataFrame:
    """The accepted ones, as the bronze table holds them."""
    return checked.where("_ok").drop(*CONTRACT).selectExpr("*", "'r' AS run_id")


def by_case(frame: DataFrame) -> dict[int, list[Line]]:
    """Lines by their case, in order."""
    found: dict[int, list[Line]] = {}
    for row in frame.selectExpr("item_id", "order_id", "unix_seconds(recorded_at) DIV 60", "int(quantity)").collect():
        found.setdefault(int(row[0]), []).append(tuple(row[1:]))
    return {case: sorted(lines, key=str) for case, lines in found.items()}


def refused(judged: Judged) -> Counter:
    return Counter(row["rule"] for row in judged.refused.collect())


@pytest.mark.parametrize("few", [copies.FEW, 0])  # so many keys that no executor may hold them all
def test_a_file_delivered_twice_counts_once(spark, tmp_path, shop, checked, monkeypatch, few):
    monkeypatch.setattr(copies, "FEW", few)
    write_lines(tmp_path / "raw" / "sales.csv", [*GOOD, "o10,a,s1,2024-03-01,many,2.5"])
    write_lines(tmp_path / "raw" / "sales_again.csv", GOOD[::-1])
    dataset = shop()
    judged = without_copies(checked(dataset), dataset.sources["sales"], "sales")
    kept = sorted(row["order_id"] for row in judged.rows.where("_ok").collect())
    assert kept == [line.split(",")[0] for line in GOOD]
    assert judged.rows.count() == 2 * len(GOOD) + 1  # all of them, to be counted
    assert refused(judged) == Counter({"duplicate": len(GOOD), "type_quantity": 1})
    told = {row["reason"] for row in judged.refused.where("rule = 'duplicate'").collect()}
    assert "expected one row with order_id o0, item_id a, location_id s1, sold_on 2024-03-01, came another" in told


def test_without_a_key_every_line_counts(spark, tmp_path, shop, checked):
    write_lines(tmp_path / "raw" / "sales.csv", [*GOOD, *GOOD, "o10,a,s1,2024-03-01,many,2.5"])
    dataset = shop({"unique": []})
    judged = without_copies(checked(dataset), dataset.sources["sales"], "sales")
    assert judged.rows.where("_ok").count() == 2 * len(GOOD)
    assert refused(judged) == Counter(["type_quantity"])


def test_a_bad_line_is_no_copy_of_a_good_one(spark, shop, lines):
    dataset = shop()
    twins = [("o1", "a", "s1", "2024-03-01", "1", "free"), ("o1", "a", "s1", "2024-03-01", "1", "2")]
    judged = without_copies(
        check_source(lines([*twins, twins[0]]), dataset, "sales"), dataset.sources["sales"], "sales"
    )
    assert [row["revenue"] for row in judged.rows.where("_ok").collect()] == [2.0]
    assert refused(judged) == Counter({"type_revenue": 2})


def test_files_that_changed_are_judged_anew_in_the_same_session(spark, tmp_path, shop, checked):
    """Spark answers from what it holds in memory if asked the same of the same folder."""
    dataset = shop()

    def kept() -> list[str]:
        judged = without_copies(checked(dataset), dataset.sources["sales"], "sales")
        found = sorted(row["order_id"] for row in judged.rows.where("_ok").collect())
        judged.release()
        return found

    write_lines(tmp_path / "raw" / "sales.csv", [GOOD[0], GOOD[0], GOOD[1]])
    assert kept() == ["o0", "o1"]
    write_lines(tmp_path / "raw" / "sales.csv", [GOOD[2], GOOD[2], GOOD[1], GOOD[1]])
    assert kept() == ["o1", "o2"]


VERSIONS = [  # lines of the table, those delivered, those accepted, rules broken, and lines that leave the table
    # within one delivery
    ([], [("x", 1, 5), ("x", 2, 6)], [("x", 2, 6)], ["superseded"], []),
    ([], [("x", 2, 6), ("x", 1, 5)], [("x", 2, 6)], ["superseded"], []),
    ([], [("x", 2, 6), ("x", 2, 6), ("x", 1, 5)], [("x", 2, 6)], ["duplicate", "superseded"], []),
    ([], [("x", 1, 5), ("y", 2, 6)], [("x", 1, 5), ("y", 2, 6)], [], []),
    ([], [("x", None, 5), ("x", 1, 6)], [("x", 1, 6)], ["superseded"], []),  # no time is older than any
    # against the table
    ([("x", 1, 5)], [("x", 2, 6)], [("x", 2, 6)], [], [("x", 1, 5)]),
    ([("x", 2, 6)], [("x", 1, 5)], [], ["superseded"], []),
    ([("x", 2, 6)], [("x", 2, 6)], [], ["duplicate"], []),
    ([("x", None, 5)], [("x", 1, 6)], [("x", 1, 6)], [], [("x", None, 5)]),
    ([("x", 1, 5)], [("x", None, 6)], [], ["superseded"], []),
    ([("x", None, 5)], [("x", None, 5)], [], ["duplicate"], []),
    ([(None, 1, 5)], [(None, 2, 6)], [(None, 2, 6)], [], [(None, 1, 5)]),  # no order number is a number too
    ([("x", 1, 5), ("y", 1, 5)], [("x", 2, 6), ("x", 3, 7)], [("x", 3, 7)], ["superseded"], [("x", 1, 5)]),
    ([("x", 1, 5)], [("y", 1, 5)], [("y", 1, 5)], [], []),
]


def test_the_newest_version_of_a_line_counts(spark):
    table = in_table(versions(spark, [case[0] for case in VERSIONS]))
    judged = without_copies(versions(spark, [case[1] for case in VERSIONS]), SOURCE, "sales", table)
    kept, gone = by_case(judged.rows.where("_ok")), by_case(superseded(judged.rows, table, SOURCE))
    broken: dict[int, list[str]] = {}
    for row in judged.refused.selectExpr("get_json_object(record, '$.case') AS case", "rule").collect():
        broken.setdefault(int(row["case"]), []).append(row["rule"])
    found = [
        (*case[:2], kept.get(n, []), sorted(broken.get(n, [])), gone.get(n, [])) for n, case in enumerate(VERSIONS)
    ]
    assert found == VERSIONS


def test_the_reason_names_the_newest_version(spark):
    judged = without_copies(versions(spark, [[("x", 1, 5), ("x", 2, 6)]]), SOURCE, "sales")
    (row,) = judged.refused.collect()
    assert (
        row["reason"] == "expected the newest row with order_id x, item_id 0, which has recorded_at 1970-01-01 00:02:00"
    )
    assert '"units":5' in row["record"]


@st.composite
def deliveries(draw) -> list[list[Line]]:
    """Versions of two lines, some of them more than once, in any order, in three parts of any size."""
    lines = draw(st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 3)), min_size=1, max_size=7))
    lines = [(order, at or None, 10 * ord(order) + at) for order, at in lines]
    first, second = sorted(draw(st.tuples(st.integers(0, len(lines)), st.integers(0, len(lines)))))
    return [lines[:first], lines[first:second], lines[second:]]


def newest(parts: list[list[Line]]) -> list[Line]:
    """The slow, obvious loop: of each line the version that was recorded last."""
    best: dict[str, Line] = {}
    for order, at, quantity in (line for part in parts for line in part):
        if order not in best or (at or 0) > (best[order][1] or 0):
            best[order] = (order, at, quantity)
    return sorted(best.values(), key=str)


@settings(max_examples=2, deadline=None, phases=(Phase.generate,))
@given(st.lists(deliveries(), min_size=40, max_size=40))
def test_any_split_into_deliveries_in_any_order_gives_the_same_lines(spark, cases):
    table = in_table(versions(spark, []))
    schema = table.schema
    for part in zip(*cases, strict=True):
        judged = without_copies(versions(spark, part), SOURCE, "sales", table)
        gone = superseded(judged.rows, table, SOURCE)
        rows = [*table.exceptAll(gone).collect(), *in_table(judged.rows).collect()]
        judged.release()
        table = spark.createDataFrame(rows, schema)
    assert by_case(table) == {case: newest(parts) for case, parts in enumerate(cases)}


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1],
        [1, 1],
        [-(2**63), 2**63 - 1, -(2**63), 0, 2**63 - 1, 2**63 - 1, 7],
        [n * 2**59 for n in range(-16, 16)] * 2 + [5],  # both ends of every slice
        [*range(50), *range(25, 75)],
    ],
)
def test_hashes_that_occur_more_than_once_are_found_as_a_counter_finds_them(spark, values):
    frame = spark.createDataFrame([(value,) for value in values], "hash bigint").repartition(3)
    found = [row["hash"] for row in repeated_hashes(frame).collect()]
    assert sorted(found) == sorted(value for value, times in Counter(values).items() if times > 1)


def test_hashes_that_are_the_same_for_different_keys_are_told_apart(spark, monkeypatch, shop, lines):
    """A hash only says which rows to compare."""
    same_for_all = copies.F.xxhash64(copies.F.lit(1))
    monkeypatch.setattr(copies.F, "xxhash64", lambda *_: same_for_all)
    dataset = shop({"columns": COLUMNS})
    raw = lines([tuple(line.split(",")) for line in (*GOOD, GOOD[0])], HEADER)
    judged = without_copies(check_source(raw, dataset, "sales"), dataset.sources["sales"], "sales")
    assert judged.rows.where("_ok").count() == len(GOOD)
    assert refused(judged) == Counter(["duplicate"])
