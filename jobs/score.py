"""Forecast every series from the end of the data.

spark-submit --py-files dist/forecasting.zip jobs/score.py --conf conf/prod.yml
"""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting import __version__
from forecasting.evaluation.value_added import falls_back
from forecasting.lake import with_lineage
from forecasting.models.artifact import trained_model
from forecasting.origins import backtest_origins, training_ends
from forecasting.runtime import Figures, Run, entry_point
from forecasting.scoring.methods import with_fallback, without_closed_days
from forecasting.scoring.score import forecast
from forecasting.scoring.shared import shared_rows


def execute(run: Run) -> Figures:
    """Score every series into forecasts; rows of the same origin are replaced."""
    lake, config = run.lake, run.config
    sequences, shared = lake.read("sequences"), shared_rows(lake)
    data = sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("origin")).first()
    until = training_ends(data["origin"], config)[-1]
    artifact, model_version = trained_model(config.of_network(config.scoring.model), data["version"], until)
    forecasts = forecast(sequences, shared, artifact, config, data["origin"])
    worse = _better_by_floor(run, data["origin"], model_version)
    answers = with_fallback(forecasts, sequences, worse, config, data["origin"])
    if lake.exists("calendar"):
        answers = without_closed_days(answers, lake.read("calendar"), config)
    by_floor = F.col("method") == F.lit(config.scoring.fallback)
    versions = F.when(by_floor, F.concat_ws(" ", "method", F.lit(__version__))).otherwise(model_version)
    lineage = run.lineage(model_version=versions, data_version=data["version"])
    lake.write(with_lineage(answers, **lineage), "forecasts", replacing={"forecast_origin": data["origin"]})
    written = lake.read("forecasts").where(F.col("forecast_origin") == F.lit(data["origin"]))
    fallen_back = F.count_distinct(F.when(by_floor, F.struct("item_id", "location_id")))
    totals = written.agg(
        F.count(F.lit(1)).alias("rows"), F.sum("mean").alias("units"), fallen_back.alias("fallen_back")
    ).first()
    horizon = config.forecast.horizon
    return {
        "rows": totals["rows"],
        "series": totals["rows"] // horizon,
        "by_fallback": totals["fallen_back"],
        "origin": data["origin"],
        "units_expected": round(totals["units"]),
    }


def _better_by_floor(run: Run, last_period: date, model_version: str) -> DataFrame | None:
    """Rows of `forecast_value_added` of series that scoring.fallback forecasts better than this very model; None if the newest
    backtest does not tell."""
    lake, scoring = run.lake, run.config.scoring
    if scoring.fallback is None or not lake.exists("forecast_value_added"):
        return None
    told = (
        (F.col("forecast_origin") == F.lit(backtest_origins(last_period, run.config)[-1]))
        & (F.col("model_version") == model_version)
        & (F.col("floor") == scoring.fallback)
    )
    return lake.read("forecast_value_added").where(told & falls_back(scoring.fallback_significance))


main = entry_point("score", execute)

if __name__ == "__main__":
    main()
