"""Small files with every fault that real ones have; what is expected is written beside each line."""

import json
from collections import Counter

import pytest
from pyspark.sql import Observation
from small_shop import ALSO_GOOD, BAD, COLUMNS, GOOD, HEADER, MOMENTS, write_lines

from forecasting.contracts import LINEAGE, SOURCES
from forecasting.errors import SourceError
from forecasting.ingest import check
from forecasting.ingest.measures import Measures, hash_of, told


def test_every_bad_line_goes_to_quarantine_with_its_reason_and_its_original(tmp_path, shop, checked, by_rule):
    lines = [*GOOD, *BAD, *ALSO_GOOD]
    write_lines(tmp_path / "raw" / "sales.csv", lines)
    frame = checked(shop()).cache()
    assert by_rule(frame) == Counter(BAD.values()) + Counter({None: len(GOOD) + len(ALSO_GOOD)})
    assert [row["_ok"] for row in frame.where("_ok <> (_broken IS NULL)").collect()] == []
    assert frame.where("_ok").count() + check.quarantined(frame, "sales").count() == len(lines)

    kept = {row["record"]: row for row in check.quarantined(frame, "sales").collect()}
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


def test_a_condition_leaves_rows_out_before_they_are_counted(shop, lines):
    raw = lines([("o1", "a", "s1", "2024-03-01", "1", "1"), ("o2", "b", "s1", "2024-03-01", "many", "1")])
    dataset = shop()
    assert check.check_source(raw, dataset, "sales", "item_id = 'a'").count() == 1
    assert check.check_source(raw, dataset, "sales").count() == 2


def test_a_source_that_the_dataset_lacks_is_an_empty_table(spark):
    frame = check.empty_source(spark, "stock")
    assert frame.count() == 0
    assert "on_hand" in frame.columns
    assert check.quarantined(frame, "stock").count() == 0


def test_a_column_that_the_files_lack_is_named(shop, lines):
    with pytest.raises(SourceError, match=r"Source sales, column quantity: expected `units` .*'pieces'"):
        check.check_source(lines([], HEADER.replace("units", "pieces")), shop(), "sales")


def test_a_warning_is_counted_and_its_row_accepted(shop, lines):
    raw = lines(
        [
            ("o1", "a", "s1", "2024-03-01", "1", "1"),
            ("o2", "a", "s1", "2024-03-01", "0", "1"),  # money without units
            ("o3", "a", "s1", "2024-03-01", "0", "0"),
            ("o4", "a", "s1", "2024-03-02", "0.25", "1"),  # no whole unit
            ("o5", "a", "s1", "2024-03-02", "1.5", ""),
            ("o6", "a", "s1", "2024-03-04", "many", "1"),  # refused: its day and its warnings do not count
            ("o7", "a", "s1", "2024-03-04", "0.5", "-1"),
        ]
    )
    dataset = shop(
        {
            "rules": [
                {"name": name, "expression": "revenue < 100", "expected": "-", "severity": "warning"}
                for name in ("cheap", "day", "rows_in")  # names of the user's choice, also those that we use inside
            ]
        }
    )
    frame = check.check_source(raw, dataset, "sales")
    found = Measures.of(dataset, "sales").by_query(frame)
    hash_sum = found.pop("hash_sum")
    first, last = str(found.pop("first_day")), str(found.pop("last_day"))
    assert (first, last) == ("2024-03-01", "2024-03-02")
    assert found == {
        "rows_in": 7,
        "rows_quarantined": 2,
        "warnings": {"revenue_without_units": 1, "quantity_whole": 2, "cheap": 0, "day": 0, "rows_in": 0},
    }

    observed = Observation()
    assert Measures.of(dataset, "sales").on_the_way(frame, observed).where("_ok").count() == 5
    assert told(observed.get)["hash_sum"] == hash_sum  # measured on the way, at no cost of its own
    assert check.quarantined(frame, "sales").count() == 2


@pytest.mark.parametrize(
    ("severity", "expression", "expected"),
    [
        ("error", "quantity < 10", {None: 2, "own": 1}),
        ("warning", "quantity < 10", {None: 3}),
        ("error", "revenue < 10", {None: 2, "own": 1}),  # none is no fault
        ("error", "item_id = 'a' AND NOT order_id = 'o2'", {None: 2, "own": 1}),
    ],
)
def test_a_dataset_has_rules_of_its_own(shop, lines, by_rule, severity, expression, expected):
    rule = {"name": "own", "expression": expression, "expected": "what the shop says", "severity": severity}
    raw = lines([(f"o{n}", "a", "s1", "2024-03-01", f"{q}", p) for n, q, p in ((1, 1, ""), (2, 10, "20"), (3, 3, "9"))])
    frame = check.check_source(raw, shop({"rules": [rule]}), "sales")
    assert by_rule(frame) == Counter(expected)
    for row in check.quarantined(frame, "sales").collect():
        assert row["reason"].startswith("expected what the shop says, came ")
        assert {"quantity": "quantity 10.0", "revenue": "revenue 20.0", "item_id": "order_id o2"}[
            expression.split()[0]
        ] in row["reason"]


@pytest.mark.parametrize("severity", ["error", "warning"])
@pytest.mark.parametrize("expression", ["units > 0", "quantity", "quantity >", "no_function(quantity)"])
def test_a_rule_that_is_no_condition_over_the_contract_is_named(shop, lines, severity, expression):
    rule = {"name": "own", "expression": expression, "expected": "-", "severity": severity}
    with pytest.raises(
        SourceError, match=r"(?s)Source sales: expected its rules .*'quantity'.*Mend sources\.sales\.rules"
    ):
        check.check_source(lines([]), shop({"rules": [rule]}), "sales")


def test_every_rule_of_every_contract_can_hold_and_is_a_condition(spark):
    """Over nulls, which no rule refuses: `required` does."""
    for name, source in SOURCES.items():
        columns = ", ".join(f"CAST(NULL AS {c.type}) AS {c.name}" for c in source.columns)
        row = spark.sql(f"SELECT {columns}").selectExpr(
            *(f"NOT ({r.expression}) AS r_{r.name}" for r in source.rules), "1"
        )
        assert not any(row.first()[: len(source.rules)]), name


BAD_COMPANIONS = {
    ("stock", "on_hand_not_negative"): {"item_id": "a", "location_id": "s", "on_hand": "-1"},
    ("stock", "on_order_not_negative"): {"item_id": "a", "location_id": "s", "on_hand": "1", "on_order": "-1"},
    ("stock", "lead_time_not_negative"): {"item_id": "a", "location_id": "s", "on_hand": "1", "lead_time": "-1"},
    ("stock", "review_period_positive"): {"item_id": "a", "location_id": "s", "on_hand": "1", "review_period": "0"},
    ("stock", "pack_size_positive"): {"item_id": "a", "location_id": "s", "on_hand": "1", "pack_size": "0"},
    ("promotions", "span_forward"): {"starts_on": "2024-03-02", "ends_on": "2024-03-01"},
    ("promotions", "span_short"): {"starts_on": "2024-03-02", "ends_on": "2025-04-01"},
    ("promotions", "display_share"): {"starts_on": "2024-03-01", "ends_on": "2024-03-01", "display": "2"},
    ("promotions", "mailer_share"): {"starts_on": "2024-03-01", "ends_on": "2024-03-01", "mailer": "-1"},
    ("promotions", "depth_share"): {"starts_on": "2024-03-01", "ends_on": "2024-03-01", "depth": "20"},
    ("prices", "price_positive"): {"item_id": "a", "starts_on": "2024-03-01", "price": "0"},
    ("units", "factor_positive"): {"item_id": "a", "factor": "0"},
    ("locations", "country_code"): {"location_id": "s", "country": "germany"},
    ("locations", "open_before_close"): {"location_id": "s", "opened_on": "2024-03-02", "closed_on": "2024-03-01"},
    ("weather", "issued_before"): {"signal": "t", "date": "2024-03-01", "value": "1", "issued_on": "2024-03-02"},
    ("weather", "value_finite"): {"signal": "t", "date": "2024-03-01", "value": "Infinity"},
    ("behaviour", "views_not_negative"): {"item_id": "a", "date": "2024-03-01", "views": "-1"},
    ("receipts", "order_first"): {
        "item_id": "a", "location_id": "s", "ordered_on": "2024-03-02", "received_on": "2024-03-01", "quantity": "1",
    },
    ("calendar", "date_plausible"): {"date": "0204-03-01", "event": "opening"},
}  # fmt: skip


@pytest.mark.parametrize("source", sorted({source for source, _ in BAD_COMPANIONS}))
def test_companions_are_held_against_their_own_rules(shop, lines, by_rule, source):
    faults = {rule: row for (name, rule), row in BAD_COMPANIONS.items() if name == source}
    columns = sorted({column for row in faults.values() for column in row})
    dataset = shop(sources={source: {"path": "-", "format": "csv", "columns": {column: column for column in columns}}})
    raw = lines([tuple(row.get(column) for column in columns) for row in faults.values()], ",".join(columns))
    assert by_rule(check.check_source(raw, dataset, source)) == Counter(faults.keys())


@pytest.mark.parametrize(
    ("zone", "day_starts", "moments"),
    [
        (
            "America/New_York",
            "00:00",
            {
                "2024-03-10 04:59:00": "2024-03-09",  # winter: midnight is 05:00 UTC
                "2024-03-10 05:00:00": "2024-03-10",
                # Clocks went forward at 07:00 UTC: midnight is 04:00 from now on.
                "2024-03-11 03:59:00": "2024-03-10",
                "2024-03-11 04:00:00": "2024-03-11",
                "2024-11-04 04:59:00": "2024-11-03",  # and back
            },
        ),
        (
            "Europe/Berlin",
            "00:00",
            {
                "2024-03-30 23:00:00": "2024-03-31",
                "2024-03-31 21:59:00": "2024-03-31",
                "2024-03-31 22:00:00": "2024-04-01",
            },
        ),
        ("Asia/Kolkata", "00:00", {"2024-06-30 18:30:00": "2024-07-01"}),
        ("UTC", "00:00", {"2024-06-30 23:59:59": "2024-06-30"}),
        (
            "Europe/Berlin",
            "05:30",
            {
                "2024-06-30 03:29:59": "2024-06-29",  # a bar: what is sold before 05:30 belongs to the evening
                "2024-06-30 03:30:00": "2024-06-30",
                "2024-12-01 04:29:59": "2024-11-30",  # winter
                "2024-12-01 04:30:00": "2024-12-01",
                "2024-03-31 03:29:59": "2024-03-30",  # the night in which clocks go forward
                "2024-03-31 03:30:00": "2024-03-31",
            },
        ),
    ],
)
def test_a_business_day_is_the_datasets_own(shop, lines, zone, day_starts, moments):
    dataset = shop({"columns": MOMENTS, "unique": []}, timezone=zone, day_starts=day_starts)
    raw = lines([("o", "a", "s", moment, "1", "1") for moment in moments])
    rows = check.check_source(raw, dataset, "sales").collect()
    assert {str(row["sold_at"]): str(row["sold_on"]) for row in rows} == moments


@pytest.mark.parametrize(("zone", "moment", "utc"), [("Europe/Berlin", "2024-07-01 00:30:00", "2024-06-30 22:30:00")])
def test_a_moment_without_zone_is_one_of_the_stored_zone(shop, lines, zone, moment, utc):
    dataset = shop({"columns": MOMENTS, "unique": []}, timezone=zone, stored_timezone=zone)
    row = check.check_source(lines([("o", "a", "s", moment, "1", "1")]), dataset, "sales").first()
    assert (str(row["sold_on"]), str(row["sold_at"])) == ("2024-07-01", utc)


@pytest.mark.parametrize(
    ("moment", "utc"),
    [
        ("2024-07-01 00:30:00", "2024-06-30 22:30:00"),
        ("2024-07-01T00:30:00Z", "2024-07-01 00:30:00"),
        ("2024-07-01 00:30:00+05:30", "2024-06-30 19:00:00"),
    ],
)
def test_a_time_that_names_its_zone_is_taken_at_its_word(shop, lines, moment, utc):
    dataset = shop({"columns": MOMENTS, "unique": []}, stored_timezone="Europe/Berlin")
    row = check.check_source(lines([("o", "a", "s", moment, "1", "1")]), dataset, "sales").first()
    assert str(row["sold_at"]) == utc


def locations(spark, *zones: tuple):
    return spark.createDataFrame(list(zones), "location_id string, timezone string")


def test_a_business_day_is_the_locations_own(spark, shop, lines):
    dataset = shop({"columns": MOMENTS, "unique": []}, timezone="America/New_York", day_starts="01:00")
    own = locations(
        spark,
        ("berlin", "Europe/Berlin"),
        ("kolkata", "Asia/Kolkata"),
        ("york", "America/New_York"),
        ("none", None),
        ("berlin", "Europe/Berlin"),  # twice in the catalogue: no line may become two
    )
    zones = check.time_zones(own, dataset)
    assert sorted(zones.names) == ["Asia/Kolkata", "Europe/Berlin"]
    cases = [
        ("berlin", "2024-03-30 23:59:00", "2024-03-30"),  # winter: 1 o'clock is midnight UTC
        ("berlin", "2024-03-31 00:00:00", "2024-03-31"),
        ("berlin", "2024-03-31 22:59:00", "2024-03-31"),  # summer from that night on
        ("berlin", "2024-03-31 23:00:00", "2024-04-01"),
        ("york", "2024-03-31 04:59:00", "2024-03-30"),
        ("york", "2024-03-31 05:00:00", "2024-03-31"),
        ("none", "2024-03-31 05:00:00", "2024-03-31"),
        ("unheard of", "2024-03-31 04:59:00", "2024-03-30"),
        ("kolkata", "2024-03-31 19:29:00", "2024-03-31"),
        ("kolkata", "2024-03-31 19:30:00", "2024-04-01"),
    ]
    raw = lines([("o", "a", shop_, moment, "1", "1") for shop_, moment, _ in cases])
    rows = check.check_source(raw, dataset, "sales", zones=zones).collect()
    found = sorted((row["location_id"], str(row["sold_at"]), str(row["sold_on"])) for row in rows)
    assert found == sorted(cases)


def test_zones_are_not_joined_where_all_locations_have_the_datasets(spark, shop):
    dataset = shop(timezone="Europe/Berlin")
    assert check.time_zones(locations(spark, ("s1", "Europe/Berlin"), ("s2", None)), dataset) is None
    assert check.time_zones(locations(spark), dataset) is None


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        ([("s2", "Europe/Belrin"), ("s1", "Asia/Kolkata")], r"location s2: .*like Europe/Berlin, came 'Europe/Belrin'"),
        ([("s1", "CET+1"), ("s2", "UTC")], r"location s1: .*came 'CET\+1'"),
        ([("s1", "UTC"), ("s2", "UTC"), ("s2", "Asia/Kolkata")], r"location s2: .*came Asia/Kolkata and UTC"),
        ([("s1", "Asia/Kolkata"), ("s1", None)], r"location s1: .*came Asia/Kolkata and Europe/Berlin"),
    ],
)
def test_a_time_zone_that_does_not_exist_or_is_not_the_only_one_is_named(spark, shop, zones, expected):
    with pytest.raises(SourceError, match=expected):
        check.time_zones(locations(spark, *zones), shop(timezone="Europe/Berlin"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"currency": "EUR", "exchange": {"USD": 0.5, "GBP": 2}},
            {
                "EUR": (10.0, 1.0),
                "USD": (5.0, 0.5),
                "GBP": (20.0, 2.0),
                "": (10.0, 1.0),
                "XXX": "EUR, GBP, USD, came XXX",
            },
        ),
        ({"currency": "EUR"}, {"EUR": (10.0, 1.0), "": (10.0, 1.0), "USD": "expected one of EUR, came USD"}),
        ({"exchange": {"USD": 0.5}}, {"USD": (5.0, 0.5), "EUR": "expected one of USD, came EUR"}),
        ({}, {"EUR": (10.0, 1.0), "XXX": (10.0, 1.0)}),
    ],
)
def test_money_is_counted_in_one_currency(shop, lines, settings, expected):
    columns = COLUMNS | {"discount": "off", "currency": "money"}
    raw = lines(
        [("o", "a", "s", "2024-03-01", "1", "10", "1", currency) for currency in expected], f"{HEADER},off,money"
    )
    for row in check.check_source(raw, shop({"columns": columns, "unique": []}, **settings), "sales").collect():
        wanted = expected[row["currency"] or ""]
        if isinstance(wanted, str):
            assert row["_broken"]["rule"] == "currency_known"
            assert wanted in row["_broken"]["reason"]
        else:
            assert row["_ok"]
            assert (row["revenue"], row["discount"]) == wanted


def test_money_that_is_no_number_is_named_as_such_in_any_currency(shop, lines, by_rule):
    dataset = shop({"columns": COLUMNS | {"currency": "money"}}, currency="EUR", exchange={"USD": 0.5})
    raw = lines([("o", "a", "s", "2024-03-01", "1", "free", "USD")], f"{HEADER},money")
    assert by_rule(check.check_source(raw, dataset, "sales")) == Counter(["type_revenue"])


def hash_sum(spark, *rows: dict) -> int:
    contents = [column for column in SOURCES["sales"].columns if column.name not in LINEAGE]
    records = [tuple(row.get(column.name) for column in contents) for row in rows]
    frame = spark.createDataFrame(records, ", ".join(f"{c.name} {c.type}" for c in contents))
    return sum(row[0] for row in frame.select(hash_of("sales")).collect())


def test_the_hash_of_a_row_tells_what_it_says_from_what_another_says(spark):
    row = {"item_id": "a", "location_id": "s", "quantity": 1.0}
    rows = (
        row,
        row | {"item_id": "s", "location_id": "a"},
        row | {"revenue": 5.0},
        row | {"discount": 5.0},  # the same value in another column
        row | {"order_id": "x"},
        row | {"customer_id": "x"},
        row | {"unit": "x"},
    )
    assert len({hash_sum(spark, each) for each in rows}) == len(rows)
    assert hash_sum(spark, *rows) == hash_sum(spark, *reversed(rows))
