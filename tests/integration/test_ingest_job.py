"""The job on a small file: what it writes, and what it takes back when too many rows are bad."""

import json

import pytest

from forecasting.errors import QualityError
from jobs import ingest

HEADER = "order,sku,shop,day,units,paid"
GOOD = [f"o{i},a,s1,2024-03-0{i % 9 + 1},{i + 1},{2.5 * (i + 1)}" for i in range(9)]
BAD = ["o10,a,s1,2024-03-01,many,2.5", "o11,a,s1,01.03.2024,1,2.5", "o12,,s1,2024-03-01,1,2.5"]
COLUMNS = {
    "order_id": "order", "item_id": "sku", "location_id": "shop", "sold_on": "day", "quantity": "units", "revenue": "paid",
}  # fmt: skip
DATASET = {
    "name": "shop",
    "description": "-",
    "sources": {"sales": {"path": "*.csv", "format": "csv", "columns": COLUMNS}},
}


def test_too_many_bad_rows_stop_the_run_and_the_tables_stay_as_they_were(tmp_path, make_run, monkeypatch):
    monkeypatch.setattr(ingest, "SOURCES", ("products", "sales"))  # two of the tables, to save the time of the others
    (tmp_path / "shop.yml").write_text(json.dumps(DATASET))  # JSON is YAML
    settings = (
        f"source.dataset={tmp_path / 'shop.yml'}",
        f"source.path={tmp_path}",
        "quality.max_quarantined_share=0.2",
    )

    def delivered(*lines: str):
        (tmp_path / "sales.csv").write_text("\n".join([HEADER, *lines]) + "\n")

    def first_run_holds() -> bool:
        return [row["run_id"] for row in run.lake.read("sales").select("run_id").collect()] == ["first"] * 9

    delivered(*GOOD, BAD[0])
    run = make_run(*settings, "run.id=first")
    assert ingest.execute(run) == {"rows": 10, "quarantined": 1, "sales": 9}
    assert first_run_holds()
    (row,) = run.lake.read("quarantine").collect()
    assert (row["rule"], row["reason"]) == ("type_quantity", "quantity: expected double, came 'many'")
    assert {row["source"]: row["rows_in"] for row in run.lake.read("data_quality").collect()} == {
        "products": 0,
        "sales": 10,
    }

    delivered(*GOOD[:2], *BAD)
    with pytest.raises(QualityError, match=r"at most 20\.0% .*3 of 5 \(60\.0%\).*quarantine"):
        ingest.execute(make_run(*settings, "run.id=second"))
    assert first_run_holds()
    assert run.lake.read("data_quality").count() == 2
    assert run.lake.read("quarantine").count() == 3  # the reasons stay, so that the source can be mended
