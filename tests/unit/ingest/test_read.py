"""Files of every shape to raw rows; what cannot be read is named."""

import json
from collections import Counter

import pytest
from small_shop import ALSO_GOOD, COLUMNS, GOOD, HEADER, write_lines

from forecasting.errors import SourceError
from forecasting.ingest.read import read_source, shaped


def test_columns_may_come_in_another_order_but_not_under_another_name(tmp_path, shop, checked, by_rule):
    turned = [",".join(line.split(",")[::-1]) for line in GOOD]
    file = write_lines(tmp_path / "raw" / "sales.csv", turned, header=",".join(HEADER.split(",")[::-1]))
    assert by_rule(checked(shop())) == Counter({None: len(GOOD)})
    write_lines(file, GOOD, header=HEADER.replace("units", "pieces"))
    with pytest.raises(SourceError, match=r"Source sales, column quantity: expected `units` .*'pieces'"):
        checked(shop())


@pytest.mark.parametrize(
    ("name", "content", "format_", "expected"),
    [
        ("sales.csv", b"", "csv", "came an empty one"),
        ("sales.parquet", b"", "parquet", "expected readable parquet files"),
        ("sales.parquet", b"PAR1 cut short", "parquet", "expected readable parquet files"),
        (None, None, "csv", r"expected readable csv files, came: .*Check source\.path"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, shop, checked, name, content, format_, expected):
    dataset = shop({"path": name or "nowhere.csv", "format": format_})
    if name:
        (tmp_path / "raw").mkdir()
        (tmp_path / "raw" / name).write_bytes(content)
    with pytest.raises(SourceError, match=expected) as refused:
        checked(dataset)
    assert (name or "nowhere.csv") in str(refused.value)


def test_a_header_without_lines_is_no_fault_of_the_file(tmp_path, shop, checked):
    write_lines(tmp_path / "raw" / "sales.csv", [])
    assert checked(shop()).count() == 0


def test_json_lines_are_checked_alike(tmp_path, shop, checked, by_rule):
    fields = HEADER.split(",")
    lines = [json.dumps(dict(zip(fields, line.split(","), strict=True))) for line in GOOD]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "sales.json").write_text("\n".join([*lines, '{"order": "cut sho']) + "\n")
    frame = checked(shop({"path": "sales.json", "format": "json"}))
    assert by_rule(frame) == Counter({None: len(GOOD), "malformed_line": 1})


def test_a_filter_leaves_lines_out_before_they_are_counted(tmp_path, shop, checked, by_rule):
    write_lines(tmp_path / "raw" / "sales.csv", [*GOOD, *ALSO_GOOD, "o40,b,s1,2024-03-01,many,1"])
    frame = checked(shop({"filter": "sku = 'b'"}))
    assert by_rule(frame) == Counter({None: 1, "type_quantity": 1})


def test_a_wide_file_becomes_one_row_a_day(tmp_path, shop, checked):
    write_lines(
        tmp_path / "raw" / "sales.csv",
        ["a,s1,3,0,1", "b,s1,,2,many", "c,s1"],
        header="sku,shop,d_1,d_2,d_10",
    )
    wide = {"columns": r"d_\d+", "name": "d", "value": "units"}
    columns = {
        "item_id": "sku",
        "location_id": "shop",
        "quantity": "units",
        "sold_on": "date_add(DATE'2024-02-29', CAST(substring(d, 3) AS INT))",
    }
    dataset = shop({"unpivot": wide, "columns": columns, "unique": [], "filter": "units IS NOT NULL OR sku = 'c'"})
    rows = checked(dataset).collect()
    good = {(row["item_id"], str(row["sold_on"])): row["quantity"] for row in rows if row["_ok"]}
    assert good == {("a", "2024-03-01"): 3, ("a", "2024-03-02"): 0, ("a", "2024-03-10"): 1, ("b", "2024-03-02"): 2}
    # The line that is cut short is told for each of its days, and loses none of them.
    assert Counter(row["_broken"]["rule"] for row in rows if not row["_ok"]) == {
        "type_quantity": 1,
        "malformed_line": 3,
    }


def test_a_lookup_brings_columns_of_another_file(tmp_path, shop, checked):
    write_lines(tmp_path / "raw" / "sales.csv", ["o1,a,s1,w1,1,1", "o2,a,s1,w2,1,1", "o3,a,s1,w9,1,1"])
    write_lines(tmp_path / "raw" / "weeks.csv", ["w1,2024-03-04", "w2,2024-03-11"], header="week,monday")
    write_lines(tmp_path / "raw" / "shops.csv", ["s1,north"], header="shop,region")
    lookups = [
        {"path": "weeks.csv", "format": "csv", "on": {"day": "week"}},
        {"path": "shops.csv", "format": "csv", "on": {"shop": "shop"}},
    ]
    columns = COLUMNS | {"sold_on": "monday", "location_id": "concat(region, ' ', shop)"}
    rows = checked(shop({"lookups": lookups, "columns": columns})).collect()
    found = {row["order_id"]: (row["location_id"], row["sold_on"] and str(row["sold_on"])) for row in rows}
    assert found == {"o1": ("north s1", "2024-03-04"), "o2": ("north s1", "2024-03-11"), "o3": ("north s1", None)}
    assert [row["_broken"]["rule"] for row in rows if not row["_ok"]] == ["required_sold_on"]  # no line gets lost


@pytest.mark.parametrize(
    ("sales", "expected"),
    [
        ({"filter": "skew = 'b'"}, "skew"),
        ({"filter": "sku ="}, "expected payload, unpivot, lookups and filter to fit"),
        (
            {"unpivot": {"columns": r"d_\d+", "name": "d", "value": "v"}},
            r"unpivot: expected columns like .*, came \['order'",
        ),
        ({"lookups": [{"path": "nowhere.csv", "format": "csv", "on": {"day": "week"}}]}, r"nowhere\.csv"),
        ({"lookups": [{"path": "sales.csv", "format": "csv", "on": {"week": "day"}}]}, "week"),
        ({"lookups": [{"path": "sales.csv", "format": "csv", "on": {"day": "week"}}]}, r"sales\.csv: .*\['week'\]"),
    ],
)
def test_a_shape_that_does_not_fit_the_file_is_named(tmp_path, shop, checked, sales, expected):
    write_lines(tmp_path / "raw" / "sales.csv", GOOD)
    with pytest.raises(SourceError, match=expected) as refused:
        checked(shop(sales))
    assert "Source sales" in str(refused.value)


def test_a_message_of_a_topic_is_read_by_its_payload(spark, shop):
    payload = ", ".join(f"{name} string" for name in HEADER.split(","))
    dataset = shop({"format": "kafka", "arrives": "stream", "payload": payload})
    good = '{"order": "o1", "sku": "a", "shop": "s1", "day": "2024-03-01", "units": "2", "more": 1}'
    topic = spark.createDataFrame(
        [(good, "kafka sales 0"), ('{"order": "o2', "kafka sales 1")], "value string, source_file string"
    )
    rows = {row["source_file"]: row for row in shaped(topic, dataset, "sales", None).collect()}
    assert (rows["kafka sales 0"]["units"], rows["kafka sales 0"]["_corrupt_record"]) == ("2", None)
    assert rows["kafka sales 1"]["_corrupt_record"] == '{"order": "o2'


@pytest.mark.parametrize("repartition", [None, 3])
def test_every_row_says_which_file_brought_it(spark, tmp_path, shop, repartition):
    write_lines(tmp_path / "raw" / "sales.csv", GOOD)
    raw = read_source(spark, shop({"path": "sales.csv", "repartition": repartition}), "sales", None)
    assert {row["source_file"].partition(":")[2].lstrip("/") for row in raw.collect()} == {
        str(tmp_path / "raw" / "sales.csv").lstrip("/")
    }
    assert raw.count() == len(GOOD)
