"""Every table, column, unit, key and rule, declared once.

`docs/tables.md` is written from here (`python -m forecasting.contracts`), Delta tables take their column comments from
here, and every write is checked against it. Nothing here needs Spark.
"""

from forecasting.contracts.derived import BACKTEST_FORECASTS, COVARIATES, INVENTORY_PLAN, SEQUENCES, TABLES
from forecasting.contracts.sources import PRODUCT_ATTRIBUTES, SALES, SOURCES, STOCK
from forecasting.contracts.table import LINEAGE, Column, Rule, Source, Table

__all__ = [
    "BACKTEST_FORECASTS",
    "COVARIATES",
    "INVENTORY_PLAN",
    "LINEAGE",
    "PRODUCT_ATTRIBUTES",
    "SALES",
    "SEQUENCES",
    "SOURCES",
    "STOCK",
    "TABLES",
    "Column",
    "Rule",
    "Source",
    "Table",
]
