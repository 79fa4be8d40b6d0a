"""Every table, column, unit, key and rule, declared once.

`docs/tables.md` is written from here (`python -m forecasting.contracts`), Delta tables take their column comments from
here, and every write is checked against it. Nothing here needs Spark.
"""

from forecasting.contracts.prepared import (
    CALENDAR_FEATURES,
    CATEGORY_PRICES,
    COVARIATES,
    DATA_QUALITY,
    DEMAND,
    LOCATION_DAYS,
    QUARANTINE,
    SEQUENCES,
)
from forecasting.contracts.results import (
    BACKTEST_FORECASTS,
    BACKTEST_METRICS,
    EQUATION_PARAMETERS,
    FORECAST_VALUE_ADDED,
    FORECASTS,
    FORECASTS_BY_LEVEL,
    INVENTORY_PLAN,
    MODEL_COMPARISONS,
    RUN_STAGES,
    SCENARIO_FORECASTS,
    STOCK_SIMULATION,
)
from forecasting.contracts.sources import PRODUCT_ATTRIBUTES, SALES, SOURCES, STOCK
from forecasting.contracts.table import LINEAGE, Column, Rule, Source, Table

TABLES = {
    table.name: table
    for table in (
        *SOURCES.values(),
        QUARANTINE,
        DATA_QUALITY,
        DEMAND,
        LOCATION_DAYS,
        CALENDAR_FEATURES,
        CATEGORY_PRICES,
        COVARIATES,
        SEQUENCES,
        FORECASTS,
        FORECASTS_BY_LEVEL,
        SCENARIO_FORECASTS,
        BACKTEST_FORECASTS,
        BACKTEST_METRICS,
        MODEL_COMPARISONS,
        FORECAST_VALUE_ADDED,
        EQUATION_PARAMETERS,
        INVENTORY_PLAN,
        STOCK_SIMULATION,
        RUN_STAGES,
    )
}

__all__ = [
    "BACKTEST_FORECASTS",
    "COVARIATES",
    "FORECASTS_BY_LEVEL",
    "INVENTORY_PLAN",
    "LINEAGE",
    "PRODUCT_ATTRIBUTES",
    "SALES",
    "SEQUENCES",
    "SOURCES",
    "STOCK",
    "STOCK_SIMULATION",
    "TABLES",
    "Column",
    "Rule",
    "Source",
    "Table",
]
