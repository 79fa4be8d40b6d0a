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
#: Periods from the day `since` to the last one of a series, in SQL.
_BETWEEN = {
    "day": "datediff(last_period, since)",
    "week": "ceil(datediff(last_period, since) / 7)",
    "month": "ceil(months_between(last_period, since))",
}


def periods_since(table: Name, config: Config, since: str, columns: str = "item_id, location_id") -> str:
    """SQL for the periods of series after a day that came: columns of `sequences`, `target_date`, `actual`, and `observed` and `state` as
    `sequences` has them. Of each series only these are unfolded.

    Args:
        since: SQL for the day.
    """
    grain = config.series.grain
    return f"""
            SELECT {columns}, {PERIOD_AT[grain]} AS target_date, actual, observed, state
            FROM (
                SELECT {columns}, first_period, length - late + place AS at, CAST(p.quantity AS DOUBLE) AS actual, p.observed, p.state
                FROM (
                    SELECT {columns}, first_period, length, quantity, observed, state,
                           greatest(0, least(length, CAST({_BETWEEN[grain]} AS INT))) AS late
                    FROM {table("sequences")} CROSS JOIN (SELECT {since} AS since)
                ) LATERAL VIEW posexplode(slice(arrays_zip(quantity, observed, state), -greatest(late, 1), late)) AS place, p
            )"""


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
