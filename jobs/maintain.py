"""Tables kept small and quick to read: old origins deleted, files compacted, those of earlier versions removed.

spark-submit --py-files dist/forecasting.zip jobs/maintain.py --conf conf/prod.yml
"""

from datetime import timedelta

from pyspark.sql import functions as F

from forecasting.contracts import TABLES
from forecasting.runtime import Figures, Run, entry_point

#: Tables with rows of every series and origin, and the column that says which origin it is.
BY_ORIGIN = {
    "forecasts": "forecast_origin",
    "forecasts_by_level": "forecast_origin",
    "scenario_forecasts": "forecast_origin",
    "backtest_forecasts": "forecast_origin",
    "forecast_value_added": "forecast_origin",
    "equation_parameters": "forecast_origin",
    "inventory_plan": "plan_date",
}


def execute(run: Run) -> Figures:
    """Delete old origins as maintenance.keep_days says, compact files, and remove those that no late version needs."""
    lake, settings = run.lake, run.config.maintenance
    tables = [name for name in TABLES if lake.exists(name)]
    deleted, compacted = 0, 0
    for name in tables:
        if name in BY_ORIGIN and settings.keep_days:
            deleted += _delete_old(run, name, BY_ORIGIN[name], settings.keep_days)
        compacted += lake.compact(name)
        lake.vacuum(name, settings.vacuum_hours)
    return {"tables": len(tables), "origins_deleted": deleted, "files_compacted": compacted}


def _delete_old(run: Run, table: str, column: str, keep_days: int) -> int:
    """How many origins were deleted."""
    origins = run.lake.read(table).select(column)
    newest = origins.agg(F.max(column).alias("newest")).first()["newest"]
    if newest is None:
        return 0
    first = newest - timedelta(keep_days)
    old = origins.where(F.col(column) < F.lit(first)).agg(F.count_distinct(column).alias("old")).first()["old"]
    if old:
        run.lake.delete_before(table, column, first)
    return old


main = entry_point("maintain", execute)

if __name__ == "__main__":
    main()
