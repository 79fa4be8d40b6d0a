"""Forecasts of the last horizon, by the model and by floors, beside what came; their metrics, and which is better.

spark-submit --py-files dist/forecasting.zip jobs/backtest.py --conf conf/prod.yml
"""

from pyspark.sql import functions as F

from forecasting.evaluation.backtest import backtest_origin, compare, series_as_of
from forecasting.evaluation.comparison import compare_models
from forecasting.evaluation.metrics import ALL, backtest_metrics
from forecasting.lake import rows, with_lineage
from forecasting.models.artifact import latest_model
from forecasting.periods import SEASON
from forecasting.runtime import Figures, Run, entry_point
from forecasting.scoring.score import forecast
from forecasting.scoring.shared import shared_rows


def execute(run: Run) -> Figures:
    """Compare the model and the floors over the last horizon of the data."""
    lake, config = run.lake, run.config
    sequences = lake.read("sequences")
    data = sequences.agg(F.max("last_period").alias("last_period"), F.max("data_version").alias("version")).first()
    origin = backtest_origin(data["last_period"], config)
    artifact, model_version = latest_model(config, data["version"])
    lineage = run.lineage(data_version=data["version"], model_version=model_version)

    forecasts = {"transformer": forecast(sequences, shared_rows(lake), artifact, config, origin)}
    answers = compare(sequences, forecasts, config, origin)
    lake.write(with_lineage(answers, **lineage), "backtest_forecasts", replacing={"forecast_origin": origin})

    written = lake.read("backtest_forecasts").where(F.col("forecast_origin") == F.lit(origin))
    series = series_as_of(sequences, config, origin)
    metrics = backtest_metrics(written, series, config.forecast, SEASON[config.series.grain])
    lake.write(with_lineage(metrics, **lineage), "backtest_metrics", replacing={"forecast_origin": origin})
    compared = compare_models(written, config.backtest.models, config.forecast)
    records = [row | {"forecast_origin": origin} | lineage for row in compared]
    lake.write(lake.frame(records, "model_comparisons"), "model_comparisons", replacing={"forecast_origin": origin})
    in_all = (F.col("forecast_origin") == F.lit(origin)) & (F.col("segment") == ALL)
    return _figures(rows(lake.read("backtest_metrics").where(in_all)))


def _figures(metrics: list[dict]) -> Figures:
    """The number of series, and WQL and RMSE of each model: the model's own by the metric's name alone."""
    shown = {}
    for row in metrics:
        if row["metric"] in ("wql", "rmse"):
            suffix = "" if row["model"] == "transformer" else f"_{row['model']}"
            shown[row["metric"] + suffix] = row["value"]
    return {"series": max((row["series"] for row in metrics), default=0), **dict(sorted(shown.items(), reverse=True))}


main = entry_point("backtest", execute)

if __name__ == "__main__":
    main()
