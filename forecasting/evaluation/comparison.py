"""Whether a model is better than another, or the difference may be chance: the same series and days, two and two."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy import stats

from forecasting.config import ForecastConfig
from forecasting.demand.aggregate import SERIES
from forecasting.evaluation.metrics import total_pinball
from forecasting.lake import rows

SURE = 0.95  # probability that the interval is to hold the true difference


def compare_models(forecasts: DataFrame, models: Sequence[str], forecast: ForecastConfig) -> list[dict]:
    """The first model against each other one, by pinball loss (what WQL adds up) and by squared error of the mean.

    The losses of a day are alike in all series (the same weather), and those of an item on all its days and at all its
    locations, so rows are no independent draws. The variance of the difference is clustered both ways: by item plus by day
    less by item and day (Cameron, Gelbach and Miller 2011, Robust Inference With Multiway Clustering, J. Bus. Econ. Stat. 29).

    Args:
        forecasts: `backtest_forecasts` of one or more origins, in which all models have the same rows.
        models: the first is held against each of the others.

    Returns:
        Per other model and loss: `model`, `against`, `loss`; `gain`: share of the other model's loss that the model saves;
        `gain_low`, `gain_high`: interval of SURE; `p_value`: probability of a difference as large by chance, two-sided, Student's
        t with one degree of freedom less than there are items or days, whichever are fewer; `series`, and
        `better_series`: the share of them in which the model's loss is lower.
    """
    own, others = models[0], models[1:]
    if not others:
        return []
    losses = {"pinball": total_pinball(forecast), "squared_error": F.pow(F.col("mean") - F.col("actual"), 2)}
    by_row = forecasts.groupBy(*SERIES, "target_date", "forecast_origin").agg(
        *(_loss_of(model, loss).alias(f"{name}_{model}") for model in models for name, loss in losses.items())
    )
    pairs = F.array(
        *(
            F.struct(
                F.lit(other).alias("against"),
                F.lit(name).alias("loss"),
                F.col(f"{name}_{own}").alias("own"),
                F.col(f"{name}_{other}").alias("other"),
            )
            for other in others
            for name in losses
        )
    )
    cells = by_row.select(*SERIES, "target_date", F.inline(pairs))
    of_series = cells.groupBy("against", "loss", *SERIES).agg(F.sum("own").alias("own"), F.sum("other").alias("other"))
    totals = of_series.groupBy("against", "loss").agg(
        F.sum("own").alias("own"),
        F.sum("other").alias("other"),
        F.count(F.lit(1)).alias("series"),
        F.avg((F.col("own") < F.col("other")).cast("double")).alias("better_series"),
    )
    cells = cells.groupBy("against", "loss", "item_id", "target_date").agg(_difference())
    joined = totals
    for name, keys in (("item", ["item_id"]), ("day", ["target_date"]), ("cell", ["item_id", "target_date"])):
        clustered = cells.groupBy("against", "loss", *keys).agg(F.sum("difference").alias("difference"))
        squares = F.sum(F.col("difference") * F.col("difference")).alias(f"{name}_squares")
        sums = clustered.groupBy("against", "loss").agg(squares, F.count(F.lit(1)).alias(f"{name}s"))
        joined = joined.join(sums, on=["against", "loss"])
    return [_verdict(own, row) for row in rows(joined.orderBy("against", "loss"))]


def _loss_of(model: str, loss: Column) -> Column:
    return F.max(F.when(F.col("model") == model, loss))


def _difference() -> Column:
    return F.sum(F.col("own") - F.col("other")).alias("difference")


def _verdict(model: str, row: dict) -> dict:
    gain = 1 - row["own"] / row["other"] if row["other"] else None
    told = {name: row[name] for name in ("against", "loss", "series", "better_series")} | {"model": model, "gain": gain}
    # Centred: under chance alone each cluster would share the mean difference. By day, item and cell alike.
    total = row["own"] - row["other"]
    variance = sum(sign * (row[f"{name}_squares"] - total**2 / row[f"{name}s"]) for name, sign in _SIGNS.items())
    fewest = min(row["items"], row["days"])
    if gain is None or variance <= 0 or fewest < 2:
        return told | {"gain_low": None, "gain_high": None, "p_value": None}
    error = variance**0.5
    student = stats.t(fewest - 1)
    half = float(student.ppf((1 + SURE) / 2)) * error / row["other"]
    p_value = float(2 * student.sf(abs(total) / error))
    return told | {"gain_low": gain - half, "gain_high": gain + half, "p_value": p_value}


_SIGNS = {"item": 1, "day": 1, "cell": -1}
