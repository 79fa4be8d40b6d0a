"""The rules of each source's contract, as data: a row that breaks one goes to quarantine with its name and reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """`holds` is a Spark SQL condition over contract columns; null counts as held, since `required` is a rule of its own.

    `shown` are the columns whose values the reason quotes.
    """

    name: str
    holds: str
    expected: str
    shown: tuple[str, ...]


RULES: dict[str, tuple[Rule, ...]] = {
    "sales": (
        Rule("quantity_finite", "abs(quantity) < 1e9", "a quantity under a thousand million", ("quantity",)),
        Rule(
            "price_not_negative",
            "revenue >= 0 OR quantity < 0",
            "no negative revenue but for a return",
            ("quantity", "revenue"),
        ),
        Rule("revenue_finite", "abs(revenue) < 1e12", "revenue under a million million", ("revenue",)),
        Rule(
            "date_plausible",
            "sold_on BETWEEN DATE'1990-01-01' AND DATE'2100-01-01'",
            "a day from 1990 to 2099",
            ("sold_on",),
        ),
    ),
    "products": (),
    "locations": (),
    "promotions": (
        Rule("span_forward", "starts_on <= ends_on", "a first day not after the last", ("starts_on", "ends_on")),
        Rule("span_short", "datediff(ends_on, starts_on) <= 366", "a span of a year at most", ("starts_on", "ends_on")),
        Rule("display_share", "display BETWEEN 0 AND 1", "display from 0 to 1", ("display",)),
        Rule("mailer_share", "mailer BETWEEN 0 AND 1", "mailer from 0 to 1", ("mailer",)),
    ),
    "calendar": (),
    "stock": (
        Rule("on_hand_not_negative", "on_hand >= 0", "units on hand of 0 or more", ("on_hand",)),
        Rule("on_order_not_negative", "on_order >= 0", "units on order of 0 or more", ("on_order",)),
        Rule("lead_time_not_negative", "lead_time >= 0", "a lead time of 0 days or more", ("lead_time",)),
        Rule("review_period_positive", "review_period >= 1", "a review period of 1 day or more", ("review_period",)),
        Rule("pack_size_positive", "pack_size > 0", "a pack size above 0", ("pack_size",)),
    ),
}
