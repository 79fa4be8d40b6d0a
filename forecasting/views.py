"""Views over the tables, for people and their SQL: what each shows, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from forecasting.states import State

_STATES = {
    State.SOLD: "sold",
    State.ZERO: "zero",
    State.CLOSED: "closed",
    State.MISSING: "missing",
    State.OUT_OF_STOCK: "out of stock",
    State.OUT_OF_STOCK_INFERRED: "out of stock, inferred",
}
_TREATMENTS = ("", "flagged", "capped", "masked", "imputed", "level shift")
#: First day of the period number `at` of a series, in SQL.
PERIOD_AT = {
    "day": "date_add(first_period, at)",
    "week": "date_add(first_period, 7 * at)",
    "month": "add_months(first_period, at)",
}
_YEAR = {"day": 365, "week": 52, "month": 12}  # periods


def _words(words: tuple[str, ...] | list[str]) -> str:
    return f"array({', '.join(repr(word) for word in words)})"


def _demand_history(table: Callable[[str], str], grain: str) -> str:
    states = _words([_STATES[state] for state in sorted(_STATES)])
    return f"""
        SELECT item_id, location_id, {PERIOD_AT[grain]} AS period_start, p.quantity,
               element_at({states}, p.state + 1) AS state, p.cleaned,
               nullif(element_at({_words(_TREATMENTS)}, p.treatment + 1), '') AS treatment, p.price, p.discount,
               datediff({PERIOD_AT[grain]}, coalesce(launched_on, first_period)) AS age_days
        FROM {table("sequences")}
        LATERAL VIEW posexplode(arrays_zip(quantity, state, cleaned, treatment, price, discount)) AS at, p"""


def _price_history(table: Callable[[str], str], grain: str) -> str:
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


@dataclass(frozen=True)
class View:
    """A view: what it shows, the tables it needs, and its query, given the full name of a table and the grain."""

    doc: str
    needs: tuple[str, ...]
    query: Callable[[Callable[[str], str], str], str]


VIEWS: Mapping[str, View] = {
    "demand_history": View(
        "Demand of every series and period from its first sale on, without gaps: what was sold, what kind of nothing a period "
        "without sales was, demand as cleaned, with what was done, and the days since launch, or else since the first sale.",
        ("sequences",),
        _demand_history,
    ),
    "price_history": View(
        "List price of every series and period as last seen, as a ratio to the mean of what its category sold in that period, and "
        "as a ratio to its own mean over the year before. Known of a period once it is over.",
        ("sequences", "category_prices"),
        _price_history,
    ),
}
