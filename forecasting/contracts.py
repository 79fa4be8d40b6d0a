"""Every table, column, unit and key, declared once.

`docs/tables.md` is written from here (`python -m forecasting.contracts`), Delta tables take their column comments from
here, and every write is checked against it. Types are Spark SQL types; this module itself needs no Spark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column: `required` means never null."""

    name: str
    type: str
    doc: str
    required: bool = False


@dataclass(frozen=True)
class Table:
    """A Delta table.

    `key` columns together are unique. `skipping` columns have file statistics, by which queries skip files: statistics of
    every column would double the cost of a write. `quantiles` adds one column per level behind `mean`.
    """

    name: str
    layer: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    skipping: tuple[str, ...] = ()
    quantiles: bool = False

    def columns_with(self, quantile_columns: Sequence[str]) -> tuple[Column, ...]:
        """The columns, in order, with the configured quantile levels in their place."""
        if not self.quantiles:
            return self.columns
        levels = tuple(
            Column(name, "double", f"quantile {name[1:].replace('_', '.')} % of demand, units")
            for name in quantile_columns
        )
        after_mean = [column.name for column in self.columns].index("mean") + 1
        return self.columns[:after_mean] + levels + self.columns[after_mean:]


def _required(name: str, type_: str, doc: str) -> Column:
    return Column(name, type_, doc, required=True)


ITEM = _required("item_id", "string", "item (SKU)")
LOCATION = _required(
    "location_id", "string", "location, or group of locations, at series.location_level; ALL for the whole chain"
)
RUN = _required("run_id", "string", "run that wrote the row")
DATA_VERSION = _required(
    "data_version", "string", "fingerprint of the accepted input and the settings that shape series"
)
MODEL_VERSION = _required("model_version", "string", "fingerprint of the trained model")
CREATED_AT = _required("created_at", "timestamp", "when the run started, UTC")
SOURCE_FILE = Column("source_file", "string", "file that delivered the row")
PRODUCT_ATTRIBUTES = tuple(
    Column(name, "string", doc)
    for name, doc in (
        ("department", "highest level of the product hierarchy"),
        ("category", "middle level of the product hierarchy"),
        ("subcategory", "lowest level of the product hierarchy"),
        ("brand", "brand, or kind of brand"),
        ("manufacturer", "manufacturer"),
        ("size", "package size, as the source writes it"),
    )
)

SALES = Table(
    "sales",
    "bronze",
    "The sales log: one row per line of an order, as delivered, typed.",
    (
        Column("order_id", "string", "order or basket"),
        ITEM,
        _required("location_id", "string", "location that sold"),
        Column("sold_at", "timestamp", "moment of the sale, UTC"),
        _required("sold_on", "date", "business day of the sale, in the location's own time zone"),
        _required("quantity", "double", "units sold; negative for a return"),
        Column("revenue", "double", "money paid for the line"),
        Column("discount", "double", "money off the list price of the line"),
        SOURCE_FILE,
        RUN,
    ),
    skipping=("sold_on",),
)
PRODUCTS = Table(
    "products",
    "bronze",
    "The product catalogue.",
    (ITEM, Column("name", "string", "what a planner calls the item"), *PRODUCT_ATTRIBUTES, SOURCE_FILE, RUN),
    key=("item_id",),
    skipping=("item_id",),
)
LOCATIONS = Table(
    "locations",
    "bronze",
    "Locations and the group each belongs to.",
    (
        _required("location_id", "string", "location"),
        Column("name", "string", "what a planner calls the location"),
        Column("location_group", "string", "group used by series.location_level: group"),
        SOURCE_FILE,
        RUN,
    ),
    key=("location_id",),
    skipping=("location_id",),
)
PROMOTIONS = Table(
    "promotions",
    "bronze",
    "Planned promotions: one row per item, location and span of days.",
    (
        ITEM,
        Column("location_id", "string", "location; null: every location"),
        _required("starts_on", "date", "first day"),
        _required("ends_on", "date", "last day"),
        _required("display", "double", "1 if the item is displayed specially, else 0"),
        _required("mailer", "double", "1 if the item is in a mailer, else 0"),
        SOURCE_FILE,
        RUN,
    ),
    skipping=("starts_on", "ends_on"),
)
CALENDAR = Table(
    "calendar",
    "bronze",
    "The retailer's own events, beside public holidays.",
    (_required("date", "date", "day"), _required("event", "string", "name of the event"), SOURCE_FILE, RUN),
    key=("date", "event"),
    skipping=("date",),
)
STOCK = Table(
    "stock",
    "bronze",
    "Stock and ordering terms per series.",
    (
        ITEM,
        LOCATION,
        _required("on_hand", "double", "units on hand"),
        Column("on_order", "double", "units ordered and not yet received"),
        Column("lead_time", "int", "days from order to receipt"),
        Column("review_period", "int", "days between two orders"),
        Column("pack_size", "double", "units that an order is rounded up to"),
        SOURCE_FILE,
        RUN,
    ),
    key=("item_id", "location_id"),
    skipping=("item_id",),
)
SOURCES = {table.name: table for table in (SALES, PRODUCTS, LOCATIONS, PROMOTIONS, CALENDAR, STOCK)}

QUARANTINE = Table(
    "quarantine",
    "bronze",
    "Rows that broke the contract, as they came.",
    (
        _required("source", "string", "bronze table the row was meant for"),
        _required("rule", "string", "rule it broke"),
        _required("reason", "string", "what was expected and what came"),
        SOURCE_FILE,
        _required("record", "string", "the original row, as JSON"),
        RUN,
        CREATED_AT,
    ),
    skipping=("source", "rule"),
)
DATA_QUALITY = Table(
    "data_quality",
    "bronze",
    "One row per run and source: rows in = accepted + quarantined.",
    (
        _required("source", "string", "bronze table"),
        _required("rows_in", "bigint", "rows delivered"),
        _required("rows_accepted", "bigint", "rows written to the bronze table"),
        _required("rows_quarantined", "bigint", "rows written to quarantine"),
        _required("checksum", "string", "fingerprint of the accepted rows, whatever their order"),
        _required("table_version", "bigint", "Delta version of the bronze table that holds the accepted rows"),
        RUN,
        CREATED_AT,
    ),
    key=("run_id", "source"),
    skipping=("source",),
)
DEMAND = Table(
    "demand",
    "silver",
    "Demand per series and period, without gaps from the first sale to the last day of the data.",
    (
        ITEM,
        LOCATION,
        _required("period_start", "date", "first day of the period"),
        _required("quantity", "double", "units sold less units returned"),
        _required("revenue", "double", "money paid"),
        _required("discount", "double", "money off the list price"),
        _required("lines", "bigint", "sales lines behind the row; 0 for a filled gap"),
        DATA_VERSION,
        RUN,
    ),
    key=("item_id", "location_id", "period_start"),
    skipping=("item_id", "period_start"),
)
CALENDAR_FEATURES = Table(
    "calendar_features",
    "gold",
    "What is known of each period in advance, shared by all series; reaches a horizon past the data.",
    (
        _required("period_start", "date", "first day of the period"),
        _required("weekday", "int", "1 Monday to 7 Sunday, of the first day"),
        _required("day_of_month", "int", "1 to 31, of the first day"),
        _required("month", "int", "1 to 12, of the first day"),
        _required("day_of_year", "int", "1 to 366, of the first day"),
        _required("holidays", "int", "public holidays and own events in the period"),
        Column("holiday_names", "string", "their names"),
        _required("days_to_holiday", "int", "days from the first day to the next holiday, at most 60"),
        _required("days_since_holiday", "int", "days from the last holiday to the first day, at most 60"),
        _required("promotions_known", "boolean", "whether the promotion plan reaches this period"),
        DATA_VERSION,
        RUN,
    ),
    key=("period_start",),
    skipping=("period_start",),
)
SEQUENCES = Table(
    "sequences",
    "gold",
    "One row per series: its history as arrays over periods, and its attributes once.",
    (
        ITEM,
        LOCATION,
        _required("first_period", "date", "period of the first array element"),
        _required("last_period", "date", "last period of the data"),
        _required("length", "int", "periods from first_period to last_period"),
        _required("quantity", "array<float>", "target: units per period; `length` values"),
        _required("price", "array<float>", "past: last seen list price per unit; `length` values"),
        _required("discount", "array<float>", "past: share of the list price taken off; `length` values"),
        _required(
            "display", "array<float>", "known future: share of locations with a display; `length` + horizon values"
        ),
        _required(
            "mailer", "array<float>", "known future: share of locations with a mailer; `length` + horizon values"
        ),
        *PRODUCT_ATTRIBUTES,
        DATA_VERSION,
        RUN,
    ),
    key=("item_id", "location_id"),
    skipping=("item_id",),
)
_FORECAST_KEY = (
    ITEM,
    LOCATION,
    _required("forecast_origin", "date", "last period whose demand the forecast knows"),
    _required("target_date", "date", "first day of the forecast period"),
    _required("horizon", "int", "periods from origin to target, from 1"),
)
FORECASTS = Table(
    "forecasts",
    "gold",
    "Probabilistic demand per series, origin and target period.",
    (
        *_FORECAST_KEY,
        _required("mean", "double", "expected demand, units"),
        MODEL_VERSION,
        DATA_VERSION,
        RUN,
        CREATED_AT,
    ),
    key=("item_id", "location_id", "forecast_origin", "target_date"),
    quantiles=True,
    skipping=("item_id", "forecast_origin", "target_date"),
)
BACKTEST_FORECASTS = Table(
    "backtest_forecasts",
    "gold",
    "Forecasts of held-out periods beside what came, per model; each model has the same rows.",
    (
        _required("model", "string", "transformer, or the name of a floor"),
        *_FORECAST_KEY,
        _required("actual", "double", "demand that came, units"),
        _required("mean", "double", "expected demand, units"),
        MODEL_VERSION,
        DATA_VERSION,
        RUN,
        CREATED_AT,
    ),
    key=("model", "item_id", "location_id", "forecast_origin", "target_date"),
    quantiles=True,
    skipping=("model", "item_id", "forecast_origin"),
)
BACKTEST_METRICS = Table(
    "backtest_metrics",
    "gold",
    "Accuracy per model over the held-out periods; docs/method.md defines each metric.",
    (
        _required("model", "string", "transformer, or the name of a floor"),
        _required("forecast_origin", "date", "last period whose demand the forecasts knew"),
        _required(
            "metric",
            "string",
            "mse, rmse, wape, mase, wql, bias, coverage, below_<level> or at_or_below_<level>, as below_0.1",
        ),
        Column("value", "double", "value; null where it is not defined, for example with no demand at all"),
        _required("series", "bigint", "series that the value rests on; for mase those with a scale above 0"),
        MODEL_VERSION,
        DATA_VERSION,
        RUN,
        CREATED_AT,
    ),
    key=("model", "forecast_origin", "metric"),
    skipping=("model", "forecast_origin"),
)
INVENTORY_PLAN = Table(
    "inventory_plan",
    "gold",
    "What to order now, per series.",
    (
        ITEM,
        LOCATION,
        _required("plan_date", "date", "last period of the data, at whose end the order is placed"),
        _required("on_hand", "double", "units on hand; 0 where no stock is given"),
        _required("on_order", "double", "units on order; 0 where no stock is given"),
        _required("lead_time", "int", "days from order to receipt"),
        _required("review_period", "int", "days between two orders"),
        _required("pack_size", "double", "units that the order is rounded up to"),
        _required("protection_periods", "int", "periods that this order must cover: lead time + review period"),
        _required("protection_demand", "double", "expected demand over protection_periods, units"),
        _required("protection_demand_std", "double", "its standard deviation, units"),
        _required("safety_stock", "double", "reorder_point - protection_demand, units"),
        _required("reorder_point", "double", "service-level quantile of demand over protection_periods, units"),
        _required("order_quantity", "double", "units to order now"),
        _required(
            "stock_out_probability", "double", "probability that demand over protection_periods exceeds the stock"
        ),
        _required("stock_out_probability_after_order", "double", "the same once order_quantity is ordered"),
        MODEL_VERSION,
        DATA_VERSION,
        RUN,
        CREATED_AT,
    ),
    key=("item_id", "location_id", "plan_date"),
    skipping=("item_id", "plan_date"),
)
RUN_STAGES = Table(
    "run_stages",
    "gold",
    "One row per run and stage: what it did, how long it took, what it needed.",
    (
        RUN,
        _required("stage", "string", "job"),
        _required("seconds", "double", "wall time"),
        _required("peak_memory_gib", "double", "largest memory of the driver and its processes on this machine"),
        _required("figures", "string", "what the stage reports, as JSON"),
        CREATED_AT,
    ),
    key=("run_id", "stage"),
    skipping=("run_id",),
)

TABLES = {
    table.name: table
    for table in (
        *SOURCES.values(),
        QUARANTINE,
        DATA_QUALITY,
        DEMAND,
        CALENDAR_FEATURES,
        SEQUENCES,
        FORECASTS,
        BACKTEST_FORECASTS,
        BACKTEST_METRICS,
        INVENTORY_PLAN,
        RUN_STAGES,
    )
}


def tables_markdown() -> str:
    """The text of `docs/tables.md`."""
    lines = [
        "# Tables",
        "",
        "Written from `forecasting/contracts.py` by `python -m forecasting.contracts > docs/tables.md`; a test holds the two together.",
        "Units are sales units of the item unless a column says otherwise. Every table is a Delta folder `<lake.path>/<table>` and a",
        "table `<lake.catalog>.<lake.schema>.<table>`. Tables with quantiles have one column per level of `forecast.quantiles`: `p10`",
        "to `p90` by default.",
    ]
    for table in TABLES.values():
        lines += ["", f"## {table.name}", "", f"{table.doc} Layer: {table.layer}."]
        lines += [f"Key: {', '.join(f'`{name}`' for name in table.key)}." if table.key else "No key."]
        lines += ["", "| column | type | null | meaning |", "|---|---|---|---|"]
        columns = table.columns_with(("p10 … p90",))
        lines += [f"| `{c.name}` | {c.type} | {'no' if c.required else 'yes'} | {c.doc} |" for c in columns]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(tables_markdown(), end="")
