"""What the newest backtest measured: means over its origins, their spread, and which differences may be chance."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.evaluation.metrics import ALL
from forecasting.lake import Lake, rows
from forecasting.report.reading import Rows, newest_rows

CURVE = "wql"  # the metric that is drawn over origins


@dataclass(frozen=True)
class Accuracy:
    """Metrics of the newest backtest, by (model, metric).

    `values` are means over `origins`, `spread` the lowest and the highest value among them; `by_origin` is CURVE of
    each model as of each origin where it is defined. `comparisons` holds a row of `model_comparisons` for each model
    other than the first, None where the backtest did not compare.
    """

    origins: tuple[date, ...]
    model_version: str
    models: tuple[str, ...]
    series: int
    values: dict[tuple[str, str], float | None]
    spread: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    by_origin: dict[tuple[str, date], float] = field(default_factory=dict)
    comparisons: Rows | None = None

    @property
    def origin(self) -> date:
        """The newest origin."""
        return self.origins[-1]


def read_accuracy(lake: Lake, config: Config) -> Accuracy | None:
    """Metrics of the backtest that wrote the newest origin, over all origins of that run."""
    if not lake.exists("backtest_metrics"):
        return None
    measured = lake.read("backtest_metrics").where(F.col("segment") == ALL)
    versions = rows(
        newest_rows(measured, "forecast_origin")
        .groupBy("model", "model_version", "data_version", "forecast_origin")
        .agg(F.max("run_id").alias("run_id"))
    )
    if not versions:
        return None
    newest = versions[0]
    of_run = measured.where(
        (F.col("run_id") == newest["run_id"]) & (F.col("data_version") == newest["data_version"])
    )  # the run's id may have been given, and used before on other data
    curve = rows(of_run.where(F.col("metric") == CURVE).select("model", "forecast_origin", "value"))
    totals = _over_origins(of_run)
    models = {row["model"] for row in versions}
    named = [name for name in config.backtest.models if name in models]
    return Accuracy(
        origins=tuple(sorted({row["forecast_origin"] for row in curve})),
        model_version=max(versions, key=lambda row: row["model"] == config.scoring.model)["model_version"],
        models=(*named, *sorted(models - set(named))),
        series=max(row["series"] for row in totals),
        values={(row["model"], row["metric"]): row["mean"] for row in totals},
        spread={(r["model"], r["metric"]): (r["lowest"], r["highest"]) for r in totals if r["mean"] is not None},
        by_origin={(row["model"], row["forecast_origin"]): row["value"] for row in curve if row["value"] is not None},
        comparisons=_comparisons(lake, newest["forecast_origin"], newest["run_id"]),
    )


def _over_origins(of_run: DataFrame) -> Rows:
    """Mean, lowest and highest value of each model and metric."""
    return rows(
        of_run.groupBy("model", "metric").agg(
            F.avg("value").alias("mean"),
            F.min("value").alias("lowest"),
            F.max("value").alias("highest"),
            F.max("series").alias("series"),
        )
    )


def _comparisons(lake: Lake, origin: date, run_id: str) -> Rows | None:
    """The first model of a backtest against each other one, by the loss that WQL adds up."""
    if not lake.exists("model_comparisons"):
        return None
    told = (F.col("forecast_origin") == F.lit(origin)) & (F.col("run_id") == run_id) & (F.col("loss") == "pinball")
    found = lake.read("model_comparisons").where(told)
    columns = ("model", "against", "gain", "gain_low", "gain_high", "origins", "series", "better_series")
    return rows(found.select(*columns).orderBy("against")) or None
