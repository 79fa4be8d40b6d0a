"""Rows in quarantine get in once the rule that kept them out is mended, once, and the rest of the table stays."""

import json

import pytest

from forecasting.errors import SourceError
from forecasting.ingest import delivery
from jobs import ingest, replay

HEADER = "order,sku,shop,at,units,paid"
GOOD = [f"o{i},a,s1,2024-03-0{i + 1} 10:00:00.123456,{i + 1},1.5" for i in range(5)]
FREE = [f"o1{i},FREE-{i},s1,2024-03-01 10:00:00.5,1,0" for i in range(3)]
BAD = ["o20,a,s1,2024-03-01 10:00:00,many,1.5", GOOD[0], "o21,a"]
COLUMNS = {
    "order_id": "order", "item_id": "sku", "location_id": "shop", "sold_at": "at", "quantity": "units", "revenue": "paid",
}  # fmt: skip
RULE = {"name": "product_code", "expression": "item_id NOT LIKE 'FREE%'", "expected": "a product code"}


@pytest.fixture
def shop(tmp_path, make_run, monkeypatch):
    """Writes the dataset with the given rules and makes a run on it."""
    monkeypatch.setattr(ingest, "SOURCES", ("sales",))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "sales.csv").write_text("\n".join([HEADER, *GOOD, *FREE, *BAD]) + "\n")

    def run_with(rules: list[dict], run_id: str):
        source = {"path": "*.csv", "format": "csv", "arrives": "stream", "columns": COLUMNS, "rules": rules}
        source["unique"] = ["order_id", "item_id", "sold_at"]
        dataset = {"name": "shop", "description": "-", "sources": {"sales": source}}
        (tmp_path / "shop.yml").write_text(json.dumps(dataset))  # JSON is YAML
        settings = (f"source.dataset={tmp_path / 'shop.yml'}", f"source.path={tmp_path / 'raw'}", f"run.id={run_id}")
        return make_run(*settings, "quality.max_quarantined_share=0.9")

    return run_with


def content(run) -> tuple[list, list]:
    """Orders and times of the sales, and the rules of the quarantine."""
    sales = run.lake.read("sales").select("order_id", "sold_at", "run_id").collect()
    held = run.lake.read("quarantine").select("rule", "delivery").collect()
    return sorted(map(tuple, sales)), sorted(row["rule"] for row in held)


def test_rows_are_accepted_once_when_the_rule_is_mended(shop, monkeypatch):
    run = shop([RULE], "first")
    ingest.execute(run)
    before, held = content(run)
    assert len(before) == 5
    assert held == ["duplicate", "malformed_line", *["product_code"] * 3, "type_quantity"]

    mended = shop([], "mended")
    with pytest.raises(SourceError, match=r"another one in dataset.*forecasting replay"):
        ingest.execute(mended)

    def cut_short(*_arguments, **_named):
        raise RuntimeError("power failure")

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "_quarantine", cut_short)
        with pytest.raises(RuntimeError):
            replay.execute(mended, "sales")
    assert replay.execute(shop([], "again"), "sales") == {"rows": 5, "accepted": 3, "quarantined": 2}
    after, held = content(run)
    assert [row for row in after if row[2] == "first"] == before
    assert sorted(row[0] for row in after if row[2] != "first") == ["o10", "o11", "o12"]
    assert held == ["duplicate", "malformed_line", "type_quantity"]
    assert {row[1].microsecond for row in after} == {123456, 500000}  # a record keeps its times

    assert replay.execute(shop([], "third"), "sales") == {"rows": 2, "accepted": 0, "quarantined": 2}
    assert replay.execute(shop([], "fourth"), "sales", ["product_code"]) == {"rows": 0}
    ingest.execute(shop([], "fifth"))  # the stream goes on by the mended mapping
    assert content(run) == (after, held)


def test_a_source_that_arrives_whole_is_not_replayed(shop):
    with pytest.raises(SourceError, match=r"Source products: .*forecasting ingest"):
        replay.execute(shop([], "first"), "products")
