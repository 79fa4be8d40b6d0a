"""Text of Spark SQL: statements that create tables and views, and values in the statements that take no parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forecasting.config import Config
from forecasting.contracts import Table
from forecasting.views import View
from forecasting.views.view import Name


def text_literal(text: str) -> str:
    """A string, in quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def among(column: str, value: Any) -> str:
    """Condition that a column has a value, or one of a list."""
    values = value if isinstance(value, list | tuple | set) else [value]
    return f"`{column}` IN ({', '.join(_literal(each) for each in values)})"


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | int | float) else text_literal(str(value))


def create_table(contract: Table, name: str, place: str | None, quantile_columns: Sequence[str]) -> str:
    """The statement that creates an empty table of a contract, with a comment on each column, where there is none.

    Args:
        name: as SQL wants it. place: folder or URI of its files; None where the name or the catalog decides.
    """
    columns = ", ".join(
        f"`{column.name}` {column.type} COMMENT {text_literal(column.doc)}"
        for column in contract.columns_with(quantile_columns)
    )
    location = f" LOCATION {text_literal(place)}" if place else ""
    partitions = f" PARTITIONED BY ({', '.join(contract.partitioned_by)})" if contract.partitioned_by else ""
    properties = [f"'delta.dataSkippingStatsColumns' = '{','.join(contract.skipping)}'"]
    if contract.feed:
        properties.append("'delta.enableChangeDataFeed' = 'true'")
    properties += [
        f"'delta.constraints.{rule.name}' = {text_literal(rule.expression)}" for rule in contract.constraints
    ]
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({columns}) USING delta{partitions}{location} "
        f"COMMENT {text_literal(contract.doc)} TBLPROPERTIES ({', '.join(properties)})"
    )


def create_view(view: View, name: str, table: Name, config: Config) -> str:
    """The statement that creates or replaces a view, with a comment on each column; `table` gives the full name of a table."""
    forecast = config.forecast
    meanings = view.columns_with(dict(zip(forecast.quantile_columns, forecast.quantiles, strict=True)))
    columns = ", ".join(f"`{column}` COMMENT {text_literal(meaning)}" for column, meaning in meanings.items())
    return f"CREATE OR REPLACE VIEW {name} ({columns}) COMMENT {text_literal(view.doc)} AS {view.query(table, config)}"
