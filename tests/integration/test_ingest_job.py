"""The job on small files: what it writes, and what it takes back when too many rows are bad."""

import pytest
from small_shop import COLUMNS, GOOD, MOMENTS, write_dataset, write_lines

from forecasting.errors import QualityError
from forecasting.ingest.quality import checksums
from jobs import ingest

BAD = ["o10,a,s1,2024-03-01,many,2.5", "o11,a,s1,01.03.2024,1,2.5", "o12,,s1,2024-03-01,1,2.5"]


def test_too_many_bad_rows_stop_the_run_and_the_tables_stay_as_they_were(tmp_path, make_run, monkeypatch):
    monkeypatch.setattr(ingest, "SOURCES", ("products", "sales"))  # two of the tables, to save the time of the others
    products = {"path": "items.csv", "format": "csv", "columns": {"item_id": "sku", "launched_on": "since"}}
    settings = (
        f"source.dataset={tmp_path / 'shop.yml'}",
        f"source.path={tmp_path}",
        "quality.max_quarantined_share=0.2",
    )
    sales_have_a_key = {"columns": COLUMNS | {"sold_on": "day"}, "unique": ["order_id"]}
    write_dataset(tmp_path / "shop.yml", sales_have_a_key, {"products": products})
    write_lines(tmp_path / "items.csv", ["a,2024-01-01"], "sku,since")

    def first_run_holds() -> bool:
        return [row["run_id"] for row in run.lake.read("sales").select("run_id").collect()] == ["first"] * 9

    write_lines(tmp_path / "sales.csv", [*GOOD[:8], GOOD[0], BAD[0], "o13,a,s1,2024-03-09,0.5,1"])
    run = make_run(*settings, "run.id=first")
    assert ingest.execute(run) == {"rows": 12, "quarantined": 2, "products": 1, "sales": 9}
    assert first_run_holds()
    held = {row["rule"]: row for row in run.lake.read("quarantine").collect()}
    assert held["type_quantity"]["reason"] == "quantity: expected double, came 'many'"
    assert {(row["source"], row["delivery"], row["run_id"]) for row in held.values()} == {("sales", "whole", "first")}
    assert sorted(held) == ["duplicate", "type_quantity"]
    quality = {row["source"]: row for row in run.lake.read("data_quality").collect()}
    assert quality["products"]["rows_in"] == quality["products"]["rows_accepted"] == 1
    assert quality["products"]["last_day"] is None
    sales = quality["sales"]
    assert (sales["rows_in"], sales["rows_accepted"], sales["rows_quarantined"]) == (11, 9, 2)
    assert sales["broken"] == {"duplicate": 1, "type_quantity": 1}
    assert sales["warnings"] == {"quantity_whole": 1}
    assert (str(sales["first_day"]), str(sales["last_day"]), sales["gap_days"]) == ("2024-03-01", "2024-03-09", 0)
    assert sales["age_days"] == (run.created_at.date() - sales["last_day"]).days
    tables = {name: run.lake.version(name) for name in ("sales", "products")}
    before = checksums(run.lake.read("data_quality"), tables)

    write_lines(tmp_path / "sales.csv", [*GOOD[:2], *BAD])
    with pytest.raises(QualityError, match=r"at most 20\.0% .*3 of 5 \(60\.0%\).*quarantine"):
        ingest.execute(make_run(*settings, "run.id=second"))
    assert first_run_holds()
    assert run.lake.read("data_quality").count() == 2
    assert run.lake.read("quarantine").count() == 3  # the reasons stay, so that the source can be mended
    tables = {name: run.lake.version(name) for name in ("sales", "products")}
    assert checksums(run.lake.read("data_quality"), tables) == before  # later stages may go on with what is there


def test_sales_are_counted_on_the_day_of_their_location(tmp_path, make_run, monkeypatch):
    """Locations are read first, also where both are streams."""
    monkeypatch.setattr(ingest, "SOURCES", ("sales", "locations"))
    columns = {"location_id": "shop", "timezone": "zone"}
    locations = {"path": "shops", "format": "csv", "arrives": "stream", "columns": columns}
    write_dataset(
        tmp_path / "shop.yml",
        {"columns": MOMENTS, "unique": [], "path": "sales", "arrives": "stream"},
        {"locations": locations},
        timezone="Europe/Berlin",
    )
    write_lines(tmp_path / "shops" / "1.csv", ["s1,", "s2,Asia/Kolkata"], "shop,zone")
    write_lines(
        tmp_path / "sales" / "1.csv",
        [f"o,a,{shop},2024-03-01 {at},1,1" for shop in ("s1", "s2") for at in ("18:29:59", "18:30:00")],
    )
    settings = (f"source.dataset={tmp_path / 'shop.yml'}", f"source.path={tmp_path}")
    run = make_run(*settings)
    assert ingest.execute(run)["sales"] == 4
    found = run.lake.read("sales").selectExpr("location_id", "date_format(sold_at, 'HH:mm')", "day(sold_on)").collect()
    assert sorted(map(tuple, found)) == [("s1", "18:29", 1), ("s1", "18:30", 1), ("s2", "18:29", 1), ("s2", "18:30", 2)]
