"""Views that unfold the arrays of `sequences`: one row per series and period."""

from __future__ import annotations

from forecasting.config import Config
from forecasting.states import State
from forecasting.views.view import PERIOD_AT, Name, View

_STATES = {
    State.SOLD: "sold",
    State.ZERO: "zero",
    State.CLOSED: "closed",
    State.MISSING: "missing",
    State.OUT_OF_STOCK: "out of stock",
    State.OUT_OF_STOCK_INFERRED: "out of stock, inferred",
}
_TREATMENTS = ("", "flagged", "capped", "masked", "imputed", "level shift")
_YEAR = {"day": 365, "week": 52, "month": 12}  # periods


def _words(words: tuple[str, ...] | list[str]) -> str:
    return f"array({', '.join(repr(word) for word in words)})"


def _demand_history(table: Name, config: Config) -> str:
    grain = config.series.grain
    states = _words([_STATES[state] for state in sorted(_STATES)])
    return f"""
        SELECT item_id, location_id, {PERIOD_AT[grain]} AS period_start, p.quantity,
               element_at({states}, p.state + 1) AS state, p.cleaned,
               nullif(element_at({_words(_TREATMENTS)}, p.treatment + 1), '') AS treatment, p.price, p.discount,
               datediff({PERIOD_AT[grain]}, coalesce(launched_on, first_period)) AS age_days
        FROM {table("sequences")}
        LATERAL VIEW posexplode(arrays_zip(quantity, state, cleaned, treatment, price, discount)) AS at, p"""


def _price_history(table: Name, config: Config) -> str:
    grain = config.series.grain
    return f"""
        SELECT item_id, location_id, s.period_start, s.price, s.price / c.price AS price_to_category,
               s.price / avg(s.price) OVER (
                   PARTITION BY item_id, location_id ORDER BY s.period_start
                   ROWS BETWEEN {_YEAR[grain]} PRECEDING AND 1 PRECEDING
               ) AS price_to_past
        FROM (
            SELECT item_id, location_id, category, {PERIOD_AT[grain]} AS period_start, nullif(p, 0) AS price
            FROM {table("sequences")} LATERAL VIEW posexplode(price) AS at, p
        ) s LEFT JOIN {table("category_prices")} c ON c.category = s.category AND c.period_start = s.period_start"""


_SERIES = {"item_id": "item (SKU)", "location_id": "place, or what series.location_level makes of places"}
HISTORY = {
    "demand_history": View(
        "Demand of every series and period from its first sale on, without gaps.",
        ("sequences",),
        _demand_history,
        _SERIES
        | {
            "period_start": "first day of the period",
            "quantity": "units, as they came",
            "state": f"what the period was: {', '.join(_STATES.values())}",
            "cleaned": "units as demand.cleaning makes them; NaN where unknown",
            "treatment": "what was done to them: flagged, capped, masked, imputed or level shift; null: nothing",
            "price": "list price per unit as last seen; 0: none seen yet",
            "discount": "share of the list price taken off, 0 to 1",
            "age_days": "days since the launch, or else since the first sale",
        },
    ),
    "price_history": View(
        "List price of every series and period as last seen, beside that of its category and its own past. Known of a period once it "
        "is over.",
        ("sequences", "category_prices"),
        _price_history,
        _SERIES
        | {
            "period_start": "first day of the period",
            "price": "list price per unit as last seen; null: none seen yet",
            "price_to_category": "its ratio to the mean list price of what its category sold in the period",
            "price_to_past": "its ratio to its own mean over the year before",
        },
    ),
}
