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
_NEXT = {
    "day": "date_add(first_period, at)",
    "week": "date_add(first_period, 7 * at)",
    "month": "add_months(first_period, at)",
}


def _words(words: tuple[str, ...] | list[str]) -> str:
    return f"array({', '.join(repr(word) for word in words)})"


def _demand_history(table: Callable[[str], str], grain: str) -> str:
    states = _words([_STATES[state] for state in sorted(_STATES)])
    return f"""
        SELECT item_id, location_id, {_NEXT[grain]} AS period_start, p.quantity,
               element_at({states}, p.state + 1) AS state, p.cleaned,
               nullif(element_at({_words(_TREATMENTS)}, p.treatment + 1), '') AS treatment, p.price, p.discount
        FROM {table("sequences")}
        LATERAL VIEW posexplode(arrays_zip(quantity, state, cleaned, treatment, price, discount)) AS at, p"""


@dataclass(frozen=True)
class View:
    """A view: what it shows, the tables it needs, and its query, given the full name of a table and the grain."""

    doc: str
    needs: tuple[str, ...]
    query: Callable[[Callable[[str], str], str], str]


VIEWS: Mapping[str, View] = {
    "demand_history": View(
        "Demand of every series and period from its first sale on, without gaps: what was sold, what kind of nothing a period "
        "without sales was, and demand as cleaned, with what was done.",
        ("sequences",),
        _demand_history,
    ),
}
