"""Forecasts of held-out periods from rolling origins, by every model, beside what came; their metrics, and which is better.

spark-submit --py-files dist/forecasting.zip jobs/backtest.py --conf conf/prod.yml
"""

from datetime import date

from pyspark.sql import functions as F

from forecasting import __version__
from forecasting.baselines.local import LOCAL, LocalModels, SeriesModels
from forecasting.baselines.trees import NAME, TreeModel, trained_trees
from forecasting.evaluation.backtest import compare, equation_parameters, series_as_of
from forecasting.evaluation.comparison import compare_models
from forecasting.evaluation.hierarchy import wrmsse
from forecasting.evaluation.metrics import ALL, backtest_metrics, revisions
from forecasting.evaluation.value_added import value_added
from forecasting.lake import rows, with_lineage
from forecasting.models.artifact import trained_model
from forecasting.models.shared import SharedRows
from forecasting.origins import backtest_origins, trained_until
from forecasting.periods import SEASON
from forecasting.runtime import Figures, Run, entry_point
from forecasting.scoring.score import forecast
from forecasting.scoring.shared import shared_rows
from forecasting.training.specification import specify


def execute(run: Run) -> Figures:
    """Compare all models over the last periods of the data, and tell of each series whether the one that scores is worth it."""
    lake, config = run.lake, run.config
    data = (
        lake.read("sequences").agg(F.max("last_period").alias("last"), F.max("data_version").alias("version")).first()
    )
    origins = backtest_origins(data["last"], config)
    for number, origin in enumerate(origins):
        lineage = answer(run, origin, trained_until(origin, data["last"], config), data["version"])
        measure(run, origin, origins[max(0, number - 1)])
    written = lake.read("backtest_forecasts").where(F.col("forecast_origin").isin(origins))
    newest = {"forecast_origin": origins[-1]}
    compared = compare_models(written, config.backtest.models, config.forecast)
    records = [row | newest | {"origins": len(origins)} | lineage for row in compared]
    lake.write(lake.frame(records, "model_comparisons"), "model_comparisons", replacing=newest)
    if {config.scoring.model, config.scoring.fallback} <= set(config.backtest.models):
        added = value_added(written, config.scoring.model, config.scoring.fallback, config)
        lake.write(with_lineage(added, **newest, **lineage), "forecast_value_added", replacing=newest)
    elif lake.exists("forecast_value_added"):
        lake.delete("forecast_value_added", newest)  # what an earlier backtest said of these origins holds no longer
    return _figures(run, origins)


def answer(run: Run, origin: date, until: date, data_version: str) -> dict:
    """Every model's forecasts from one origin beside what came, written; `until` is the end of training of those that are trained.

    Returns:
        What rows about the model that scores say of their making; of the first model, if it is not among them.
    """
    lake, config = run.lake, run.config
    sequences, shared = lake.read("sequences"), shared_rows(lake)
    forecasts, versions = {}, {name: f"{name} {__version__}" for name in config.backtest.models}
    for name in config.backtest.models:
        if name in config.networks:
            artifact, versions[name] = trained_model(config.of_network(name), data_version, until)
            forecasts[name] = forecast(sequences, shared, artifact, config, origin)
    local = _local_models(run, shared, origin, data_version)
    others: list[SeriesModels] = [local] if local else []
    if NAME in config.backtest.models:
        artifact, versions[NAME] = trained_trees(config, data_version, until)
        others.append(TreeModel(artifact, shared))
    answers = compare(sequences, forecasts, config, origin, others)
    version_of = F.create_map(*(F.lit(word) for pair in versions.items() for word in pair))
    lineage = run.lineage(data_version=data_version, model_version=version_of[F.col("model")])
    lake.write(with_lineage(answers, **lineage), "backtest_forecasts", replacing={"forecast_origin": origin})
    if local and local.equations:
        fitted = with_lineage(equation_parameters(sequences, local, origin), **lineage)
        lake.write(fitted, "equation_parameters", replacing={"forecast_origin": origin})
    elif lake.exists("equation_parameters"):
        lake.delete("equation_parameters", {"forecast_origin": origin})
    return lineage | {"model_version": versions.get(config.scoring.model, versions[config.backtest.models[0]])}


def measure(run: Run, origin: date, before: date) -> None:
    """The metrics of all models that have forecast from an origin, written; `before` is the origin that its forecasts are held
    against."""
    lake, config = run.lake, run.config
    sequences, written = lake.read("sequences"), lake.read("backtest_forecasts")
    own = written.where(F.col("forecast_origin") == F.lit(origin))
    series = series_as_of(sequences, config, origin)
    metrics = backtest_metrics(own, series, config.forecast, SEASON[config.series.grain])
    if before < origin:
        earlier = written.where(F.col("forecast_origin") == F.lit(before))
        metrics = metrics.unionByName(revisions(own, earlier, config.forecast))
    if config.backtest.hierarchy:
        metrics = metrics.unionByName(wrmsse(sequences, own, config, origin))
    made = own.groupBy("model").agg(*(F.max(name).alias(name) for name in ("model_version", "data_version")))
    told = with_lineage(metrics.join(F.broadcast(made), on="model"), **run.lineage())
    lake.write(told, "backtest_metrics", replacing={"forecast_origin": origin})


def _local_models(run: Run, shared: SharedRows, origin: date, data_version: str) -> LocalModels | None:
    """The models of this backtest that are fitted to each series by itself."""
    names = tuple(name for name in run.config.backtest.models if name in LOCAL)
    if not names:
        return None
    known = run.lake.read("sequences").where(F.col("first_period") <= F.lit(origin))
    return LocalModels(names, specify(known, shared, run.config, origin, data_version), shared)


def _figures(run: Run, origins: list[date]) -> Figures:
    """The number of series, and WQL and RMSE of each model, the mean over origins: the model's own by the metric's name alone."""
    metrics = run.lake.read("backtest_metrics").where(
        F.col("forecast_origin").isin(origins) & (F.col("segment") == ALL) & F.col("metric").isin("wql", "rmse")
    )
    means = metrics.groupBy("model", "metric").agg(F.avg("value").alias("value"), F.max("series").alias("series"))
    found = rows(means)
    shown = {}
    for row in found:
        suffix = "" if row["model"] == run.config.scoring.model else f"_{row['model']}"
        shown[row["metric"] + suffix] = row["value"]
    return {
        "series": max((row["series"] for row in found), default=0),
        "origins": len(origins),
        **dict(sorted(shown.items(), reverse=True)),
    }


main = entry_point("backtest", execute)

if __name__ == "__main__":
    main()
