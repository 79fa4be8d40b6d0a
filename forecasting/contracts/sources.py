"""Contracts of what a dataset may deliver: schema, keys, units and rules of every source. All but sales are optional."""

from __future__ import annotations

from forecasting.contracts.table import ANYWHERE, ITEM, PLACE, RUN, SOURCE_FILE, Column, Rule, Source, required

_DAYS = "BETWEEN DATE'1990-01-01' AND DATE'2100-01-01'"


def _plausible(day: str) -> Rule:
    return Rule("date_plausible", f"{day} {_DAYS}", "a day from 1990 to 2099", (day,))


def _at_least(column: str, least: int, name: str, words: str) -> Rule:
    return Rule(name, f"{column} >= {least}", words, (column,))


def _finite(column: str) -> Rule:
    return Rule(f"{column}_finite", f"abs({column}) < 1e12", f"{column} under a million million", (column,))


PRODUCT_ATTRIBUTES = tuple(
    Column(name, "string", doc, role="static")
    for name, doc in (
        ("department", "highest level of the product hierarchy"),
        ("category", "middle level of the product hierarchy"),
        ("subcategory", "lowest level of the product hierarchy"),
        ("brand", "brand, or kind of brand"),
        ("manufacturer", "manufacturer"),
        ("size", "package size, as the source writes it"),
    )
)

SALES = Source(
    "sales",
    "bronze",
    "The sales log: one row per line of an order, as delivered, typed.",
    (
        Column("order_id", "string", "order or basket"),
        ITEM,
        required("location_id", "string", "location that sold"),
        Column("sold_at", "timestamp", "moment of the sale, UTC"),
        required("sold_on", "date", "business day of the sale, in the location's own time zone"),
        required("quantity", "double", "units sold; negative for a return or cancellation"),
        Column("unit", "string", "unit of measure of quantity, as `units` names it; null: the item's own unit"),
        Column("revenue", "double", "money paid for the line, in the dataset's currency"),
        Column("discount", "double", "money off the list price of the line, in the dataset's currency"),
        Column("currency", "string", "ISO code of the currency in which the line was paid"),
        Column("customer_id", "string", "customer"),
        Column("kind", "string", "sale, return or cancellation; null: a return where quantity is negative"),
        Column("recorded_at", "timestamp", "when this version of the line was recorded, UTC; a later one corrects it"),
        SOURCE_FILE,
        RUN,
    ),
    skipping=("sold_on",),
    feed=True,
    day="sold_on",
    rules=(
        Rule("quantity_finite", "abs(quantity) < 1e9", "a quantity under a thousand million", ("quantity",)),
        Rule(
            "price_not_negative",
            "revenue >= 0 OR quantity < 0",
            "no negative revenue but for a return",
            ("quantity", "revenue"),
        ),
        _finite("revenue"),
        _finite("discount"),
        Rule("kind_known", "kind IN ('sale', 'return', 'cancellation')", "sale, return or cancellation", ("kind",)),
        _plausible("sold_on"),
        Rule(
            "revenue_without_units",
            "quantity != 0 OR coalesce(revenue, 0) = 0",
            "money only for units",
            ("quantity", "revenue"),
            severity="warning",
        ),
        Rule("quantity_whole", "quantity = floor(quantity)", "whole units", ("quantity",), severity="warning"),
    ),
)
PRODUCTS = Source(
    "products",
    "bronze",
    "The product catalogue.",
    (
        ITEM,
        Column("name", "string", "what a planner calls the item"),
        *PRODUCT_ATTRIBUTES,
        Column("launched_on", "date", "first day on which the item can be sold"),
        SOURCE_FILE,
        RUN,
    ),
    key=("item_id",),
    skipping=("item_id",),
)
UNITS = Source(
    "units",
    "bronze",
    "Units of measure: how many of the item's own units one unit of a sales line stands for.",
    (
        ITEM,
        Column("unit", "string", "unit as sales lines name it; null: lines that name none"),
        Column("valid_from", "date", "first business day from which it holds; null: always"),
        required("factor", "double", "item's own units in one such unit, for example 12 for a case of 12"),
        SOURCE_FILE,
        RUN,
    ),
    skipping=("item_id",),
    rules=(Rule("factor_positive", "factor > 0 AND factor < 1e6", "a factor above 0", ("factor",)),),
)
LOCATIONS = Source(
    "locations",
    "bronze",
    "Locations and the group each belongs to.",
    (
        PLACE,
        Column("name", "string", "what a planner calls the location"),
        Column("location_group", "string", "group used by series.location_level: group"),
        Column("timezone", "string", "IANA name, as Europe/Berlin; null: the dataset's"),
        Column("country", "string", "ISO code of the country whose public holidays count; null: features.country"),
        Column("region", "string", "ISO code of its state or province; null: features.region"),
        Column("opened_on", "date", "first day of business"),
        Column("closed_on", "date", "last day of business"),
        SOURCE_FILE,
        RUN,
    ),
    key=("location_id",),
    skipping=("location_id",),
    rules=(
        Rule("country_code", "country RLIKE '^[A-Z]{2}$'", "a country as two capitals, like DE", ("country",)),
        Rule(
            "open_before_close", "opened_on <= closed_on", "opened_on not after closed_on", ("opened_on", "closed_on")
        ),
    ),
)
PROMOTIONS = Source(
    "promotions",
    "bronze",
    "Planned promotions: one row per item, location and span of days.",
    (
        Column("item_id", "string", "item (SKU); null: every item of the location"),
        ANYWHERE,
        required("starts_on", "date", "first day"),
        required("ends_on", "date", "last day"),
        Column("kind", "string", "kind of promotion, in the retailer's words"),
        Column("depth", "double", "planned share of the list price taken off, 0 to 1"),
        Column("display", "double", "1 if the item is displayed specially, else 0"),
        Column("mailer", "double", "1 if the item is in a mailer, else 0"),
        Column(
            "announced_on",
            "date",
            "day from which the plan is known; at the earliest features.promotion_lead before it starts",
        ),
        SOURCE_FILE,
        RUN,
    ),
    skipping=("starts_on", "ends_on"),
    day="ends_on",
    rules=(
        Rule("span_forward", "starts_on <= ends_on", "a first day not after the last", ("starts_on", "ends_on")),
        Rule("span_short", "datediff(ends_on, starts_on) <= 366", "a span of a year at most", ("starts_on", "ends_on")),
        Rule("display_share", "display BETWEEN 0 AND 1", "display from 0 to 1", ("display",)),
        Rule("mailer_share", "mailer BETWEEN 0 AND 1", "mailer from 0 to 1", ("mailer",)),
        Rule("depth_share", "depth BETWEEN 0 AND 1", "depth from 0 to 1", ("depth",)),
        _plausible("starts_on"),
    ),
)
PRICES = Source(
    "prices",
    "bronze",
    "List prices, past and planned: one row per item, location and span of days.",
    (
        ITEM,
        ANYWHERE,
        required("starts_on", "date", "first day"),
        Column("ends_on", "date", "last day; null: until the next price"),
        required("price", "double", "money per unit, in the dataset's currency"),
        Column("announced_on", "date", "day from which the price is known; null: it always was"),
        SOURCE_FILE,
        RUN,
    ),
    skipping=("starts_on",),
    day="starts_on",
    rules=(
        Rule("price_positive", "price > 0 AND price < 1e9", "a price above 0", ("price",)),
        Rule("span_forward", "starts_on <= ends_on", "a first day not after the last", ("starts_on", "ends_on")),
        _plausible("starts_on"),
    ),
)
CALENDAR = Source(
    "calendar",
    "bronze",
    "The retailer's own events and closing days, beside public holidays.",
    (
        required("date", "date", "day"),
        required("event", "string", "name of the event"),
        ANYWHERE,
        Column("closed", "boolean", "true: the location is closed on that day"),
        SOURCE_FILE,
        RUN,
    ),
    skipping=("date",),
    day="date",
    rules=(_plausible("date"),),
)
_MEASURED = (
    required("date", "date", "day that the value is of"),
    required("value", "double", "the value, in the signal's own unit"),
    Column("issued_on", "date", "day on which a forecast of the value was issued; null: the value was observed"),
    SOURCE_FILE,
    RUN,
)
_MEASURED_RULES = (
    _finite("value"),
    Rule("issued_before", "issued_on <= date", "a forecast issued by the day it is of", ("issued_on", "date")),
    _plausible("date"),
)
WEATHER = Source(
    "weather",
    "bronze",
    "Weather per location and day: observed, and forecast with the day of issue.",
    (required("signal", "string", "what was measured, as temperature_max"), ANYWHERE, *_MEASURED),
    skipping=("date",),
    day="date",
    rules=_MEASURED_RULES,
)
SIGNALS = Source(
    "signals",
    "bronze",
    "Any other numeric series that demand may follow: sensors, indices, traffic.",
    (
        required("signal", "string", "what was measured, as footfall"),
        Column("item_id", "string", "item (SKU); null: every item"),
        ANYWHERE,
        *_MEASURED,
    ),
    skipping=("date",),
    day="date",
    rules=_MEASURED_RULES,
)
BEHAVIOUR = Source(
    "behaviour",
    "bronze",
    "What customers did on a day, beside buying.",
    (
        ITEM,
        ANYWHERE,
        required("date", "date", "day"),
        Column("views", "double", "times the item was looked at"),
        Column("carts", "double", "times it was put into a basket"),
        Column("customers", "double", "different customers who looked at it"),
        SOURCE_FILE,
        RUN,
    ),
    skipping=("date",),
    day="date",
    rules=(
        *(
            _at_least(name, 0, f"{name}_not_negative", f"{name} of 0 or more")
            for name in ("views", "carts", "customers")
        ),
        _plausible("date"),
    ),
)
STOCK = Source(
    "stock",
    "bronze",
    "Stock snapshots and ordering terms; the newest snapshot of a series is its stock now.",
    (
        ITEM,
        required("location_id", "string", "location, or what series.location_level makes of it"),
        Column("counted_on", "date", "day at whose end the stock was counted; null: now"),
        required("on_hand", "double", "units on hand"),
        Column("on_order", "double", "units ordered and not yet received"),
        Column("lead_time", "int", "days from order to receipt"),
        Column("review_period", "int", "days between two orders"),
        Column("pack_size", "double", "units that an order is rounded up to"),
        SOURCE_FILE,
        RUN,
    ),
    skipping=("counted_on",),
    day="counted_on",
    shapes_demand=False,
    rules=(
        _at_least("on_hand", 0, "on_hand_not_negative", "units on hand of 0 or more"),
        _at_least("on_order", 0, "on_order_not_negative", "units on order of 0 or more"),
        _at_least("lead_time", 0, "lead_time_not_negative", "a lead time of 0 days or more"),
        _at_least("review_period", 1, "review_period_positive", "a review period of 1 day or more"),
        Rule("pack_size_positive", "pack_size > 0", "a pack size above 0", ("pack_size",)),
        _plausible("counted_on"),
    ),
)
RECEIPTS = Source(
    "receipts",
    "bronze",
    "Deliveries from suppliers.",
    (
        ITEM,
        PLACE,
        Column("ordered_on", "date", "day of the order"),
        required("received_on", "date", "day of the receipt"),
        required("quantity", "double", "units received"),
        SOURCE_FILE,
        RUN,
    ),
    skipping=("received_on",),
    day="received_on",
    shapes_demand=False,
    rules=(
        Rule("quantity_positive", "quantity > 0 AND quantity < 1e9", "a quantity above 0", ("quantity",)),
        Rule("order_first", "ordered_on <= received_on", "an order before its receipt", ("ordered_on", "received_on")),
        _plausible("received_on"),
    ),
)
#: In this order they are read, but for locations, which come first: business days need their time zones.
SOURCES = {
    source.name: source
    for source in (
        LOCATIONS,
        SALES,
        PRODUCTS,
        UNITS,
        PROMOTIONS,
        PRICES,
        CALENDAR,
        WEATHER,
        SIGNALS,
        BEHAVIOUR,
        STOCK,
        RECEIPTS,
    )
}
