"""What a view is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from forecasting.config import Config

Name = Callable[[str], str]  # full name of a table, as SQL wants it
#: First day of the period number `at` of a series, in SQL.
PERIOD_AT = {
    "day": "date_add(first_period, at)",
    "week": "date_add(first_period, 7 * at)",
    "month": "add_months(first_period, at)",
}


@dataclass(frozen=True)
class View:
    """A view: what it shows, the tables it needs, its query, and each of its columns with its unit, in order.

    `quantiles`: one column per level of forecast.quantiles stands behind `mean`.
    """

    doc: str
    needs: tuple[str, ...]
    query: Callable[[Name, Config], str]
    columns: Mapping[str, str]
    quantiles: bool = False

    def columns_with(self, levels: Mapping[str, float]) -> dict[str, str]:
        """The columns with what they mean; `levels` are the quantile columns with their levels."""
        told: dict[str, str] = {}
        for name, meaning in self.columns.items():
            told[name] = meaning
            if self.quantiles and name == "mean":
                told |= {column: f"quantile {level:g} of demand, units" for column, level in levels.items()}
        return told
