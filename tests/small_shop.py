"""A small shop: sales lines with every fault that real ones have, and the dataset that maps them to the contract."""

import json
from pathlib import Path

HEADER = "order,sku,shop,day,units,paid"
GOOD = [f"o{i},a,s1,2024-03-0{i % 9 + 1},{i + 1},{2.5 * (i + 1)}" for i in range(9)]
#: Lines that are refused, and the rule that each breaks.
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
#: Columns under which `day` holds a moment.
MOMENTS = {name: spec for name, spec in COLUMNS.items() if name != "sold_on"} | {"sold_at": "day"}
UNIQUE = ("order_id", "item_id", "location_id", "sold_on")


def described(sales: dict | None = None, sources: dict | None = None, **settings) -> dict:
    """A dataset whose sales are read from `sales*.csv`; settings of sales, further sources, and its own settings."""
    source = {"path": "sales*.csv", "format": "csv", "columns": COLUMNS, "unique": list(UNIQUE)} | (sales or {})
    return {"name": "shop", "description": "-", "sources": {"sales": source} | (sources or {})} | settings


def write_dataset(file: Path, *args, **settings) -> Path:
    """The dataset as a YAML file, which JSON is."""
    file.write_text(json.dumps(described(*args, **settings)))
    return file


def write_lines(file: Path, lines, header: str = HEADER) -> Path:
    """A CSV file in a folder that is made if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([header, *lines]) + "\n")
    return file
