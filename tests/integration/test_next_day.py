"""A day that is added costs the months it touches, and comes to what a run over everything comes to."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable
from pandas.testing import assert_frame_equal

from forecasting.contracts import TABLES
from forecasting.lake import Lake
from forecasting.runtime import start_run
from jobs import aggregate, features, ingest

START = date(2024, 1, 1)
COLUMNS = {
    "order_id": "order",
    "item_id": "sku",
    "location_id": "shop",
    "sold_on": "day",
    "quantity": "units",
    "revenue": "paid",
}


def log(days: int, seed: int = 5) -> pd.DataFrame:
    """Sales lines of three items at two shops."""
    draw = np.random.default_rng(seed)
    lines = [
        (f"{day}-{shop}-{item}-{n}", f"i{item}", f"s{shop}", START + timedelta(day), int(draw.integers(-1, 9)), 0.1 * n)
        for day in range(days)
        for shop in range(2)
        for item in range(3)
        for n in range(int(draw.poisson(6)))
        if not (shop == 1 and day % 7 == 6)
    ]
    return pd.DataFrame(lines, columns=["order", "sku", "shop", "day", "units", "paid"])


def counts(*days: int) -> pd.DataFrame:
    """Stock of an item that was counted empty on these days."""
    return pd.DataFrame(
        [("i1", "s0", START + timedelta(day), 0) for day in days], columns=["sku", "shop", "day", "units"]
    )


def catalogue(*categories: str) -> pd.DataFrame:
    """The three items and their categories, and one that comes in May."""
    launches = [None, None, None, date(2024, 5, 9)]
    return pd.DataFrame({"sku": ["i0", "i1", "i2", "i3"], "kind": [*categories, "tea"], "launch": launches})


@pytest.fixture
def shop(tmp_path, make_config, spark, monkeypatch):
    """Delivers lines as files, and carries out ingest and aggregate in a lake of a name."""
    monkeypatch.setattr(ingest, "SOURCES", ("sales", "products", "stock"))
    (tmp_path / "raw" / "sales").mkdir(parents=True)
    lines = {
        "path": "sales/*.csv",
        "format": "csv",
        "arrives": "stream",
        "columns": COLUMNS,
        "unique": ["order_id", "item_id", "sold_on"],
    }
    products = {
        "path": "products.csv",
        "format": "csv",
        "columns": {"item_id": "sku", "category": "kind", "launched_on": "launch"},
    }
    named = {"item_id": "sku", "location_id": "shop", "counted_on": "day", "on_hand": "units"}
    stock = {"path": "stock.csv", "format": "csv", "columns": named}
    dataset = {"name": "shop", "description": "-", "settings": {"series": {"location_level": "location"}}}
    sources = {"sales": lines, "products": products, "stock": stock}
    (tmp_path / "shop.yml").write_text(json.dumps(dataset | {"sources": sources}))  # JSON is YAML

    def deliver(name: str, lines: pd.DataFrame) -> None:
        lines.to_csv(tmp_path / "raw" / f"{name}.csv", index=False)

    deliver("products", catalogue("tea", "tea", "oil"))
    deliver("stock", counts(7, 20, 120))

    def run_in(lake: str, *settings: str, jobs: Sequence[ModuleType] = (ingest, aggregate)) -> dict:
        own = (
            f"source.dataset={tmp_path / 'shop.yml'}",
            f"source.path={tmp_path / 'raw'}",
            f"lake.path={tmp_path / lake}",
        )
        run = start_run(make_config(*own, f"lake.schema={tmp_path.name}_{lake}".replace("-", "_"), *settings), "test")
        return [job.execute(run) for job in jobs][-1]

    def table(lake: str, name: str) -> pd.DataFrame:
        frame = DeltaTable(str(tmp_path / lake / name)).to_pandas().drop(columns=["run_id", "data_version"])
        return frame.sort_values(list(TABLES[name].key), ignore_index=True)

    return deliver, run_in, table


def test_an_added_day_comes_to_what_a_full_run_comes_to(shop, monkeypatch):
    deliver, run_in, table = shop
    lines = log(125)  # January to the fourth of May
    since = (lines["sku"] == "i2") & (lines["shop"] == "s0")  # this one began to sell in April
    lines = lines[~since | (lines["day"] > date(2024, 4, 20))]
    on = lines["day"].map(lambda day: (day - START).days)
    late = (lines.index % 50 == 7) & (on > 59)  # lines of March, April and May
    deliver("sales/first", lines[(on < 124) & ~late])
    assert run_in("grown")["months_written"] == "all months"
    assert run_in("grown", jobs=[features])["made_from"] == "the start"
    assert run_in("grown")["months_written"] == 0  # nothing new

    deliver("sales/second", pd.concat([lines[(on == 124) | late], lines[on == 3]]))  # lines of January come again
    deliver("stock", counts(7, 20, 90, 120))  # a day of March was counted since
    assert run_in("grown")["months_written"] == 3
    assert run_in("grown", jobs=[features])["made_from"] == date(2024, 3, 1)
    assert run_in("full")["months_written"] == "all months"
    assert run_in("full", jobs=[features])["made_from"] == "the start"
    for name in ("demand", "location_days", "category_prices", "sequences"):
        assert_frame_equal(table("grown", name), table("full", name), check_exact=True, obj=name)
    coming = table("grown", "sequences").set_index("item_id").loc[["i3"]]
    assert len(coming) == 2 and set(coming["length"]) == {1} and all(list(seen) == [0] for seen in coming["observed"])
    assert table("full", "demand")["quantity"].sum() == lines["units"].sum()

    again = run_in("grown", "features.promotion_lead=3", jobs=[aggregate])
    assert again["months_written"] == 1  # no other line, but other data
    other = run_in("grown", "demand.returns=ignore", jobs=[aggregate])
    assert other["months_written"] == "all months"  # other settings change every month
    with monkeypatch.context() as patch:  # cut short between its two tables
        write = Lake.write
        patch.setattr(
            Lake,
            "write",
            lambda lake, df, name, *how, **more: name != "sequences" and write(lake, df, name, *how, **more),
        )
        assert run_in("full", jobs=[features])["made_from"] == date(2024, 5, 5)  # nothing but days to come
    assert run_in("full", jobs=[features])["made_from"] == "the start"
    deliver("products", catalogue("tea", "oil", "oil"))  # another category
    assert run_in("full", jobs=(ingest, features))["made_from"] == "the start"
