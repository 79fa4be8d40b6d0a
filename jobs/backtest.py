"""Forecasts of held-out periods from rolling origins, by the model and by floors, beside what came; their metrics, and which is better.

spark-submit --py-files dist/forecasting.zip jobs/backtest.py --conf conf/prod.yml
"""

from datetime import date

from pyspark.sql import functions as F

from forecasting.evaluation.backtest import compare, series_as_of
from forecasting.evaluation.comparison import compare_models
from forecasting.evaluation.hierarchy import wrmsse
from forecasting.evaluation.metrics import ALL, backtest_metrics, revisions
from forecasting.lake import rows, with_lineage
from forecasting.models.artifact import trained_model
from forecasting.origins import backtest_origins, trained_until
from forecasting.periods import SEASON
from forecasting.runtime import Figures, Run, entry_point
from forecasting.scoring.score import forecast
from forecasting.scoring.shared import shared_rows


def execute(run: Run) -> Figures:
    """Compare the model and the floors over the last periods of the data."""
    lake, config = run.lake, run.config
    sequences = lake.read("sequences")
    data = sequences.agg(F.max("last_period").alias("last_period"), F.max("data_version").alias("version")).first()
    origins = backtest_origins(data["last_period"], config)
    for number, origin in enumerate(origins):
        lineage = backtest(run, origin, origins[max(0, number - 1)], data["last_period"], data["version"])
    written = lake.read("backtest_forecasts").where(F.col("forecast_origin").isin(origins))
    compared = compare_models(written, config.backtest.models, config.forecast)
    records = [row | {"forecast_origin": origins[-1], "origins": len(origins)} | lineage for row in compared]
    lake.write(
        lake.frame(records, "model_comparisons"), "model_comparisons", replacing={"forecast_origin": origins[-1]}
    )
    return _figures(run, origins)


def backtest(run: Run, origin: date, before: date, last_period: date, data_version: str) -> dict:
    """Forecasts of one origin and their metrics, written; `before` is the origin that its forecasts are held against.

    Returns:
        What the rows say of their making.
    """
    lake, config = run.lake, run.config
    sequences = lake.read("sequences")
    artifact, model_version = trained_model(config, data_version, trained_until(origin, last_period, config))
    lineage = run.lineage(data_version=data_version, model_version=model_version)
    forecasts = {"transformer": forecast(sequences, shared_rows(lake), artifact, config, origin)}
    answers = compare(sequences, forecasts, config, origin)
    lake.write(with_lineage(answers, **lineage), "backtest_forecasts", replacing={"forecast_origin": origin})

    written = lake.read("backtest_forecasts")
    own = written.where(F.col("forecast_origin") == F.lit(origin))
    series = series_as_of(sequences, config, origin)
    metrics = backtest_metrics(own, series, config.forecast, SEASON[config.series.grain])
    if before < origin:
        earlier = written.where(F.col("forecast_origin") == F.lit(before))
        metrics = metrics.unionByName(revisions(own, earlier, config.forecast))
    if config.backtest.hierarchy:
        metrics = metrics.unionByName(wrmsse(sequences, own, config, origin))
    lake.write(with_lineage(metrics, **lineage), "backtest_metrics", replacing={"forecast_origin": origin})
    return lineage


def _figures(run: Run, origins: list[date]) -> Figures:
    """The number of series, and WQL and RMSE of each model, the mean over origins: the model's own by the metric's name alone."""
    metrics = run.lake.read("backtest_metrics").where(
        F.col("forecast_origin").isin(origins) & (F.col("segment") == ALL) & F.col("metric").isin("wql", "rmse")
    )
    means = metrics.groupBy("model", "metric").agg(F.avg("value").alias("value"), F.max("series").alias("series"))
    found = rows(means)
    shown = {}
    for row in found:
        suffix = "" if row["model"] == "transformer" else f"_{row['model']}"
        shown[row["metric"] + suffix] = row["value"]
    return {
        "series": max((row["series"] for row in found), default=0),
        "origins": len(origins),
        **dict(sorted(shown.items(), reverse=True)),
    }


main = entry_point("backtest", execute)

if __name__ == "__main__":
    main()
