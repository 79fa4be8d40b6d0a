"""Contracts of the tables that jobs write from the sources: what was refused, silver, and what models read."""

from __future__ import annotations

from forecasting.contracts.sources import PRODUCT_ATTRIBUTES
from forecasting.contracts.table import (
    CREATED_AT,
    DATA_VERSION,
    ITEM,
    LOCATION,
    PLACE,
    RUN,
    SOURCE_FILE,
    Column,
    Table,
    required,
)

QUARANTINE = Table(
    "quarantine",
    "bronze",
    "Rows that broke the contract, as they came.",
    (
        required("source", "string", "bronze table the row was meant for"),
        required("rule", "string", "rule it broke"),
        required("reason", "string", "what was expected and what came"),
        SOURCE_FILE,
        required("record", "string", "the original row, as JSON; of a superseded row, as the bronze table held it"),
        required("delivery", "string", "whole: all files of the source; else the batch of its stream, or a replay"),
        RUN,
        CREATED_AT,
    ),
    skipping=("source", "rule"),
)
DATA_QUALITY = Table(
    "data_quality",
    "bronze",
    "One row per run, source and delivery: rows in = accepted + quarantined. Checksum and rows are those of the table after it.",
    (
        required("source", "string", "bronze table"),
        required("delivery", "string", "whole: all files of the source; else the batch of its stream, or a replay"),
        required("rows_in", "bigint", "rows delivered"),
        required("rows_accepted", "bigint", "rows written to the bronze table"),
        required("rows_quarantined", "bigint", "rows written to quarantine"),
        required("broken", "map<string,bigint>", "rows in quarantine by the rule they broke"),
        required("warnings", "map<string,bigint>", "accepted rows by the rule of severity warning they broke"),
        Column("first_day", "date", "earliest day among the accepted rows"),
        Column("last_day", "date", "latest day among the accepted rows"),
        Column("age_days", "int", "days from the newest day of the bronze table to the run: how fresh the source is"),
        Column("gap_days", "bigint", "days between first_day and last_day without a row"),
        required("table_rows", "bigint", "rows of the bronze table"),
        required("hash_sum", "decimal(38,0)", "sum of the hashes of the bronze table's rows"),
        required("checksum", "string", "fingerprint of the bronze table's rows, whatever their order"),
        required("table_version", "bigint", "Delta version of the bronze table"),
        RUN,
        CREATED_AT,
    ),
    key=("run_id", "source", "delivery"),
    skipping=("source",),
)
DEMAND = Table(
    "demand",
    "silver",
    "Demand per series and period that has sales lines. The view demand_history fills the gaps and says what each of them is.",
    (
        ITEM,
        LOCATION,
        required("period_start", "date", "first day of the period"),
        required(
            "quantity", "double", "units sold less units returned, as demand.returns and demand.cancellations say"
        ),
        required("returned", "double", "units returned or cancelled, whether they are part of quantity or not"),
        required("revenue", "double", "money paid, in the dataset's currency"),
        required("discount", "double", "money off the list price, in the dataset's currency"),
        required("lines", "bigint", "sales lines behind the row"),
        required("month", "date", "first day of the month that holds period_start"),
        DATA_VERSION,
        RUN,
    ),
    key=("item_id", "location_id", "period_start"),
    skipping=("item_id", "period_start"),
    partitioned_by=("month",),
)
LOCATION_DAYS = Table(
    "location_days",
    "silver",
    "Every location on every day from its first sale to the last day of the data: was it open, and did its records come?",
    (
        PLACE,
        required("date", "date", "day"),
        required("lines", "bigint", "sales lines"),
        required("state", "string", "open, closed, or missing: no records were delivered although it should be open"),
        required("declared", "boolean", "true: the calendar or the catalogue says so; false: inferred from the lines"),
        DATA_VERSION,
        RUN,
    ),
    key=("location_id", "date"),
    skipping=("location_id", "date"),
)
CALENDAR_FEATURES = Table(
    "calendar_features",
    "gold",
    "What is known of each period in advance, shared by all series of a country or region; reaches a horizon past the data.",
    (
        required("calendar", "string", "country, or country-region, whose holidays these are: US, DE-BE"),
        required("period_start", "date", "first day of the period"),
        required("weekday", "int", "1 Monday to 7 Sunday, of the first day", "known future"),
        required("day_of_month", "int", "1 to 31, of the first day", "known future"),
        required("month", "int", "1 to 12, of the first day", "known future"),
        required("day_of_year", "int", "1 to 366, of the first day", "known future"),
        required("holidays", "int", "days of the period with a public holiday or an own event", "known future"),
        Column("holiday_names", "string", "their names"),
        required("days_to_holiday", "int", "days from the first day to the next holiday, at most 60", "known future"),
        required(
            "days_since_holiday", "int", "days from the last holiday to the first day, at most 60", "known future"
        ),
        Column("events", "string", "names of the retail events in the period"),
        required(
            "days_to", "map<string,int>", "days to the next of each retail and own event, at most 60", "known future"
        ),
        required("days_since", "map<string,int>", "days since the last of each, at most 60", "known future"),
        required("promotions_known", "boolean", "whether the promotion plan reaches this period", "known future"),
        DATA_VERSION,
        RUN,
    ),
    key=("calendar", "period_start"),
    skipping=("calendar", "period_start"),
)
CATEGORY_PRICES = Table(
    "category_prices",
    "gold",
    "Mean list price of what a category sold in a period. The view price_history holds the prices of series against it.",
    (
        required("category", "string", "products.category"),
        required("period_start", "date", "first day of the period"),
        required("price", "double", "mean list price per unit over the series that sold", "past"),
        required("series", "bigint", "series that sold"),
        DATA_VERSION,
        RUN,
    ),
    key=("category", "period_start"),
    skipping=("category", "period_start"),
)
COVARIATES = Table(
    "covariates",
    "gold",
    "Weather, signals and local events: what was observed, and what was forecast of it and when.",
    (
        required("signal", "string", "what was measured; `event NAME` for an event of single locations"),
        required("item_id", "string", "item (SKU); empty: all items"),
        LOCATION,
        required("first_period", "date", "period of the first observed value"),
        required(
            "observed", "array<float>", "values to the last period of the data, gaps filled by features.missing", "past"
        ),
        Column(
            "forecasts",
            "array<struct<issued_on: date, period_start: date, value: double>>",
            "what was said of a period in advance, and on which day",
            role="known future",
        ),
        DATA_VERSION,
        RUN,
    ),
    key=("signal", "item_id", "location_id"),
    skipping=("signal",),
)
_AHEAD = "`length` + horizon values"
_PROMOTED = f"{_AHEAD}, null for a series without promotions"
SEQUENCES = Table(
    "sequences",
    "gold",
    "One row per series: its history as arrays over periods, and its attributes once. The view demand_history unfolds it.",
    (
        ITEM,
        LOCATION,
        required("first_period", "date", "period of the first array element: the first with sales lines"),
        required("last_period", "date", "last period of the data"),
        required("length", "int", "periods from first_period to last_period"),
        required("quantity", "array<float>", "units per period, as they came; `length` values", "target"),
        required(
            "observed",
            "array<tinyint>",
            "1: demand could be seen; 0: the location was closed, or its records did not come; `length` values",
            "past",
        ),
        required(
            "state",
            "array<tinyint>",
            "what a period was, as of last_period: 0 sold, 1 zero, 2 closed, 3 missing, 4 out of stock, 5 out of stock as "
            "inferred; `length` values",
        ),
        required(
            "cleaned",
            "array<float>",
            "units as demand.cleaning makes them, as of last_period; NaN where unknown; `length` values",
        ),
        required(
            "treatment",
            "array<tinyint>",
            "what was done: 0 nothing, 1 flagged as an outlier, 2 capped, 3 masked, 4 imputed, 5 level shift noted; `length` values",
        ),
        required("price", "array<float>", "last seen list price per unit; `length` values", "past"),
        required("discount", "array<float>", "share of the list price taken off; `length` values", "past"),
        Column("views", "array<float>", "times the item was looked at; `length` values", role="past"),
        Column("carts", "array<float>", "times it was put into a basket; `length` values", role="past"),
        Column("customers", "array<float>", "different customers who looked at it; `length` values", role="past"),
        Column(
            "item_demand",
            "array<float>",
            "units of the item at all places; `length` values, null where series are of the whole chain",
            role="past",
        ),
        Column(
            "category_demand",
            "array<float>",
            "units of the item's category at the place; `length` values, null for an item of none",
            role="past",
        ),
        Column("display", "array<float>", f"share of locations with a display; {_PROMOTED}", role="known future"),
        Column("mailer", "array<float>", f"share of locations with a mailer; {_PROMOTED}", role="known future"),
        Column("promotion", "array<float>", f"share of locations with any promotion; {_PROMOTED}", role="known future"),
        Column(
            "promotion_depth", "array<float>", f"planned share off the list price; {_PROMOTED}", role="known future"
        ),
        Column(
            "promotion_periods_left",
            "array<float>",
            f"periods that the promotion in force lasts, this one included; {_PROMOTED}",
            role="known future",
        ),
        Column(
            "promotion_announced",
            "array<smallint>",
            "periods ahead by which all promotions of a period had been announced, 32767 where none says when; a forecast made "
            f"earlier does not see them; {_PROMOTED}",
            role="known future",
        ),
        required(
            "promotion_kinds",
            "map<string,array<float>>",
            f"share of locations by kind of promotion, for kinds that the series has; {_AHEAD}",
            "known future",
        ),
        Column("planned_price", "array<float>", f"list price as planned, 0 unknown; {_AHEAD}", role="known future"),
        Column(
            "price_announced",
            "array<smallint>",
            f"periods ahead by which the planned price had been announced, 32767 where none says when; {_AHEAD}",
            role="known future",
        ),
        *PRODUCT_ATTRIBUTES,
        Column("launched_on", "date", "first day on which the item can be sold", role="static"),
        Column(
            "price_band",
            "string",
            "low, middle or high: list price in first_period, below 0.8, up to or above 1.2 of the category's mean then; null unknown",
            role="static",
        ),
        Column("location_group", "string", "group of the location; null above the level of locations", role="static"),
        required("calendar", "string", "rows of calendar_features that hold for the series", "static"),
        required(
            "demand_class", "string", "smooth, intermittent, erratic, lumpy or no demand, as of last_period: for people"
        ),
        DATA_VERSION,
        RUN,
    ),
    key=("item_id", "location_id"),
    skipping=("item_id",),
)
