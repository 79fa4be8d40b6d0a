"""Forecasts of totals at every level, made to add up with those of the series.

spark-submit --py-files dist/forecasting.zip jobs/reconcile.py --conf conf/prod.yml
"""

from datetime import date

from pyspark.sql import functions as F

from forecasting.demand.aggregate import SERIES
from forecasting.errors import LakeError
from forecasting.evaluation.backtest import periods_from
from forecasting.hierarchy.base import base_forecasts
from forecasting.hierarchy.nodes import level_name
from forecasting.hierarchy.reconcile import reconciled
from forecasting.lake import rows, with_lineage
from forecasting.origins import scoring_origins
from forecasting.runtime import Figures, Run, entry_point
from forecasting.scoring.shared import shared_rows


def execute(run: Run) -> Figures:
    """Forecast the totals of every level from the origins of the job score, and make all levels add up."""
    lake, config = run.lake, run.config
    if not config.reconciliation.levels:
        return {"levels": 0}
    last = lake.read("sequences").agg(F.max("last_period").alias("last")).first()["last"]
    *earlier, newest = scoring_origins(last, config)
    there = lake.holds("forecasts_by_level", "forecast_origin", earlier)
    for origin in (*(origin for origin in earlier if origin not in there), newest):  # what people acted upon stays
        reconcile_from(run, origin)
    return _figures(run, newest)


def reconcile_from(run: Run, origin: date) -> None:
    """Forecasts of all levels from one origin, written.

    Raises:
        LakeError: there are no forecasts from there, or not of forecast.horizon periods.
    """
    lake, config = run.lake, run.config
    forecasts = lake.read("forecasts").where(F.col("forecast_origin") == F.lit(origin))
    by_model = F.when(F.col("method") == config.scoring.model, F.col("model_version"))
    model = F.coalesce(F.max(by_model), F.max("model_version"))
    told = (F.max("data_version").alias("data"), F.max("horizon").alias("horizon"))
    made = forecasts.agg(model.alias("model"), *told).first()
    if made["horizon"] != config.forecast.horizon:
        raise LakeError(
            f"Table forecasts: expected forecasts from {origin} of {config.forecast.horizon} periods, came {made['horizon'] or 'none'}. Run the "
            "job score first."
        )
    scored = forecasts.where(F.col("horizon") == 1).select(*SERIES)
    sequences = lake.read("sequences").join(scored, on=list(SERIES), how="left_semi")
    levels = config.reconciliation.levels
    base = base_forecasts(sequences, shared_rows(lake), levels, config, origin, made["data"]).persist()
    with reconciled(forecasts, sequences, base, config) as found:
        lineage = run.lineage(model_version=made["model"], data_version=made["data"])
        told = with_lineage(found.withColumns(periods_from(origin, config)), **lineage)
        lake.write(told, "forecasts_by_level", replacing={"forecast_origin": origin})
    base.unpersist()


def _figures(run: Run, origin: date) -> Figures:
    """Nodes of each level, and what the forecasts expect in total, before and after."""
    of_it = run.lake.read("forecasts_by_level").where(F.col("forecast_origin") == F.lit(origin))
    told = of_it.groupBy("level").agg(
        F.count_distinct("node").alias("nodes"), F.sum("base_mean").alias("before"), F.sum("mean").alias("after")
    )
    found = {row["level"]: row for row in rows(told)}
    series = found.pop(level_name(SERIES))
    return {
        "levels": len(found) + 1,
        "nodes": sum(row["nodes"] for row in found.values()),
        "series": series["nodes"],
        "units_expected": round(series["after"]),
        "units_before": round(series["before"]),
    }


main = entry_point("reconcile", execute)

if __name__ == "__main__":
    main()
