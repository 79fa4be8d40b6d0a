"""Small files with every fault that real ones have; what is expected is written beside each line."""

import json
from collections import Counter

import pytest

from forecasting.errors import SourceError
from forecasting.ingest import ingest
from forecasting.ingest.dataset import Dataset

HEADER = "order,sku,shop,day,units,paid"
GOOD = [f"o{i},a,s1,2024-03-0{i % 9 + 1},{i + 1},{2.5 * (i + 1)}" for i in range(9)]
BAD = {
    "o10,a,s1,2024-03-01,many,2.5": "type_quantity",
    "o11,a,s1,01.03.2024,1,2.5": "type_sold_on",
    "o12,a,s1,2024-02-30,1,2.5": "type_sold_on",
    "o13,a,s1,2024-03-01,1,free": "type_revenue",
    "o14,a,s1,2024-03-01,1,-2.5": "price_not_negative",
    "o15,,s1,2024-03-01,1,2.5": "required_item_id",
    "o16, ,s1,2024-03-01,1,2.5": "required_item_id",
    "o17,a,,2024-03-01,1,2.5": "required_location_id",
    "o18,a,s1,,1,2.5": "required_sold_on",
    "o19,a,s1,2024-03-01,,2.5": "required_quantity",
    "o20,a,s1,1024-03-01,1,2.5": "date_plausible",
    "o21,a,s1,2024-03-01,1e30,2.5": "quantity_finite",
    "o22,a,s1,2024-03-01,NaN,2.5": "quantity_finite",
    "o23,a,s1": "malformed_line",
    "o24,a,s1,2024-03-01,1,2.5,and more": "malformed_line",
    GOOD[3]: "duplicate",
}
ALSO_GOOD = ["o30,a,s1,2024-03-01,-1,-2.5", "o31,a,s1,2024-03-01,1,", "o32,b,s1,2024-03-01,0.25,1"]
COLUMNS = {
    "order_id": "order",
    "item_id": "sku",
    "location_id": "shop",
    "sold_on": {"expression": "day", "format": "yyyy-MM-dd"},
    "quantity": "units",
    "revenue": "paid",
}
UNIQUE = ["order_id", "item_id", "location_id", "sold_on"]


@pytest.fixture
def shop(tmp_path):
    """A dataset over `tmp_path/raw`; further sources and settings of sales may be given."""
    (tmp_path / "raw").mkdir()

    def make(sales=None, **settings) -> Dataset:
        source = {"path": "sales*.csv", "format": "csv", "columns": COLUMNS, "unique": UNIQUE} | (sales or {})
        described = {"name": "shop", "description": "-", "path": str(tmp_path / "raw"), "sources": {"sales": source}}
        return Dataset.model_validate(described | settings)

    return make


def deliver(tmp_path, lines, name="sales.csv", header=HEADER):
    (tmp_path / "raw" / name).write_text("\n".join([header, *lines]) + "\n")


def checked(spark, dataset, config):
    return ingest.checked_source(spark, dataset, "sales", config.source)


def by_rule(frame) -> Counter:
    return Counter(row[0] for row in frame.select("_broken.rule").collect())


def test_every_bad_line_goes_to_quarantine_with_its_reason_and_its_original(spark, tmp_path, shop, make_config):
    lines = [*GOOD, *BAD, *ALSO_GOOD]
    deliver(tmp_path, lines)
    frame = checked(spark, shop(), make_config()).cache()
    assert by_rule(frame) == Counter(BAD.values()) + Counter({None: len(GOOD) + len(ALSO_GOOD)})
    assert ingest.accepted(frame).count() + ingest.quarantined(frame, "sales").count() == len(lines)

    kept = {row["record"]: row for row in ingest.quarantined(frame, "sales").collect()}
    assert all(row["source_file"].endswith("/raw/sales.csv") and row["source"] == "sales" for row in kept.values())
    originals = {json.loads(record).get("order"): (json.loads(record), row) for record, row in kept.items()}
    record, row = originals["o10"]
    assert record == {"order": "o10", "sku": "a", "shop": "s1", "day": "2024-03-01", "units": "many", "paid": "2.5"}
    assert row["reason"] == "quantity: expected double, came 'many'"
    assert originals["o11"][1]["reason"] == "sold_on: expected date in the format yyyy-MM-dd, came '01.03.2024'"
    assert (
        originals["o14"][1]["reason"]
        == "expected no negative revenue but for a return, came quantity 1.0, revenue -2.5"
    )
    assert "o24,a,s1,2024-03-01,1,2.5,and more" in json.dumps(originals["o24"][0])


def test_a_file_delivered_twice_counts_once(spark, tmp_path, shop, make_config):
    deliver(tmp_path, GOOD)
    deliver(tmp_path, GOOD[::-1], "sales_again.csv")
    frame = checked(spark, shop(), make_config())
    assert by_rule(frame) == Counter({None: len(GOOD), "duplicate": len(GOOD)})


def test_columns_may_come_in_another_order_but_not_under_another_name(spark, tmp_path, shop, make_config):
    turned = [",".join(line.split(",")[::-1]) for line in GOOD]
    deliver(tmp_path, turned, header=",".join(HEADER.split(",")[::-1]))
    assert by_rule(checked(spark, shop(), make_config())) == Counter({None: len(GOOD)})
    deliver(tmp_path, GOOD, header=HEADER.replace("units", "pieces"))
    with pytest.raises(SourceError, match=r"Source sales, column quantity: expected `units` .*'pieces'"):
        checked(spark, shop(), make_config())


@pytest.mark.parametrize(
    ("name", "content", "format_", "expected"),
    [
        ("sales.csv", b"", "csv", "came an empty one"),
        ("sales.parquet", b"", "parquet", "expected readable parquet files"),
        ("sales.parquet", b"PAR1 cut short", "parquet", "expected readable parquet files"),
        (None, None, "csv", r"expected readable csv files, came: .*Check source\.path"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(spark, tmp_path, shop, make_config, name, content, format_, expected):
    dataset = shop({"path": name or "nowhere.csv", "format": format_})
    if name:
        (tmp_path / "raw" / name).write_bytes(content)
    with pytest.raises(SourceError, match=expected) as refused:
        checked(spark, dataset, make_config())
    assert (name or "nowhere.csv") in str(refused.value)


def test_a_header_without_lines_is_no_fault_of_the_file(spark, tmp_path, shop, make_config):
    deliver(tmp_path, [])
    assert checked(spark, shop(), make_config()).count() == 0


def test_a_filter_leaves_rows_out_before_they_are_counted(spark, tmp_path, shop, make_config):
    deliver(tmp_path, [*GOOD, *ALSO_GOOD])
    config = make_config("source.filter={sales: \"item_id = 'b'\"}")
    assert by_rule(checked(spark, shop(), config)) == Counter({None: 1})


def test_json_lines_are_checked_alike(spark, tmp_path, shop, make_config):
    fields = HEADER.split(",")
    lines = [json.dumps(dict(zip(fields, line.split(","), strict=True))) for line in GOOD]
    (tmp_path / "raw" / "sales.json").write_text("\n".join([*lines, '{"order": "cut sho']) + "\n")
    frame = checked(spark, shop({"path": "sales.json", "format": "json"}), make_config())
    assert by_rule(frame) == Counter({None: len(GOOD), "malformed_line": 1})


def test_a_source_that_the_dataset_lacks_is_an_empty_table(spark, shop, make_config):
    frame = ingest.checked_source(spark, shop(), "stock", make_config().source)
    assert frame.count() == 0
    assert "on_hand" in frame.columns


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("America/New_York", "2024-03-10 04:59:00", "2024-03-09"),  # winter: midnight is 05:00 UTC
        ("America/New_York", "2024-03-10 05:00:00", "2024-03-10"),
        # Clocks went forward at 07:00 UTC: midnight is 04:00 from now on.
        ("America/New_York", "2024-03-11 03:59:00", "2024-03-10"),
        ("America/New_York", "2024-03-11 04:00:00", "2024-03-11"),
        ("America/New_York", "2024-11-04 04:59:00", "2024-11-03"),  # and back
        ("Europe/Berlin", "2024-03-30 23:00:00", "2024-03-31"),
        ("Europe/Berlin", "2024-03-31 21:59:00", "2024-03-31"),
        ("Europe/Berlin", "2024-03-31 22:00:00", "2024-04-01"),
        ("Asia/Kolkata", "2024-06-30 18:30:00", "2024-07-01"),
        ("UTC", "2024-06-30 23:59:59", "2024-06-30"),
    ],
)
def test_a_business_day_is_the_locations_own(spark, shop, zone, moment, day):
    columns = {k: v for k, v in COLUMNS.items() if k != "sold_on"} | {"sold_at": "day"}
    dataset = shop({"columns": columns, "unique": []}, timezone=zone)
    raw = spark.createDataFrame(
        [("o", "a", "s", moment, "1", "1", "f")], f"{HEADER.replace(',', ' string, ')} string, source_file string"
    )
    row = ingest.check_source(raw, dataset, "sales").first()
    assert (str(row["sold_on"]), str(row["sold_at"])) == (day, moment)


@pytest.mark.parametrize(("zone", "moment", "utc"), [("Europe/Berlin", "2024-07-01 00:30:00", "2024-06-30 22:30:00")])
def test_a_moment_without_zone_is_one_of_the_stored_zone(spark, shop, zone, moment, utc):
    columns = {k: v for k, v in COLUMNS.items() if k != "sold_on"} | {"sold_at": "day"}
    dataset = shop({"columns": columns, "unique": []}, timezone=zone, stored_timezone=zone)
    raw = spark.createDataFrame(
        [("o", "a", "s", moment, "1", "1", "f")], f"{HEADER.replace(',', ' string, ')} string, source_file string"
    )
    row = ingest.check_source(raw, dataset, "sales").first()
    assert (str(row["sold_on"]), str(row["sold_at"])) == ("2024-07-01", utc)
