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
FEWEST_ITEMS = 30  # with fewer, a variance over items is no estimate: each series counts for itself
_CLUSTERS = {
    "unit": (1, ("unit",)),
    "day": (1, ("target_date",)),
    "cell": (-1, ("unit", "target_date")),
}  # sign, keys; a unit is an item, or a series where there are few items
_COMPARED = ("against", "loss")


def compare_models(forecasts: DataFrame, models: Sequence[str], forecast: ForecastConfig) -> list[dict]:
    """The first model against each other one, by pinball loss (what WQL adds up) and by squared error of the mean.

    The losses of a day are alike in all series (the same weather), and those of an item on all its days and at all its
    locations, so rows are no independent draws. The variance of the difference is clustered both ways: by item plus by day
    less by item and day (Cameron, Gelbach and Miller 2011, Robust Inference With Multiway Clustering, J. Bus. Econ. Stat. 29).
    With fewer than FEWEST_ITEMS items series take the place of items.

    Args:
        forecasts: `backtest_forecasts` of one or more origins, in which all models have the same rows.
        models: the first is held against each of the others.

    Returns:
        Per other model and loss: `model`, `against`, `loss`; `gain`: share of the other model's loss that the model saves;
        `gain_low`, `gain_high`: interval of SURE; `p_value`: probability of a difference as large by chance, two-sided, Student's
        t with one degree of freedom less than there are items (or series) or days, whichever are fewer; `series`, and
        `better_series`: the share of them in which the model's loss is lower.
    """
    own, others = models[0], models[1:]
    if not others:
        return []
    losses = _paired_losses(forecasts, models, forecast).withColumn("unit", _unit(forecasts))
    found = _totals(losses).join(_squares(losses), on=list(_COMPARED))
    return [_verdict(own, row) for row in rows(found.orderBy(*_COMPARED))]


def _unit(forecasts: DataFrame) -> Column:
    items = forecasts.agg(F.countDistinct("item_id").alias("items")).first()["items"]
    return F.col("item_id") if items >= FEWEST_ITEMS else F.concat_ws("\u0001", *SERIES)


def _paired_losses(forecasts: DataFrame, models: Sequence[str], forecast: ForecastConfig) -> DataFrame:
    """`against`, `loss`, series, `target_date`, and the losses of the first model and the other: `own`, `other`."""
    losses = {"pinball": total_pinball(forecast), "squared_error": F.pow(F.col("mean") - F.col("actual"), 2)}
    by_row = forecasts.groupBy(*SERIES, "target_date", "forecast_origin").agg(
        *(_loss_of(model, loss).alias(f"{name}_{model}") for model in models for name, loss in losses.items())
    )
    own, *others = models
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
    return by_row.select(*SERIES, "target_date", F.inline(pairs))


def _totals(losses: DataFrame) -> DataFrame:
    both = [F.sum(name).alias(name) for name in ("own", "other")]
    of_series = losses.groupBy(*_COMPARED, *SERIES).agg(*both)
    better = F.avg((F.col("own") < F.col("other")).cast("double"))
    return of_series.groupBy(*_COMPARED).agg(*both, F.count(F.lit(1)).alias("series"), better.alias("better_series"))


def _squares(losses: DataFrame) -> DataFrame:
    """Of each way to cluster the rows, the number of clusters and the sum of their squared differences: `units`, `unit_squares`."""
    cells = losses.groupBy(*_COMPARED, "unit", "target_date").agg(
        F.sum(F.col("own") - F.col("other")).alias("difference")
    )
    sets = [[F.col(name) for name in (*_COMPARED, *keys)] for _, keys in _CLUSTERS.values()]
    keys = [F.col(name) for name in (*_COMPARED, "unit", "target_date")]
    clusters = cells.groupingSets(sets, *keys).agg(
        F.sum("difference").alias("difference"), F.grouping_id().alias("left_out")
    )
    sums = []
    for name, (_, kept) in _CLUSTERS.items():
        left_out = sum(bit for bit, key in ((2, "unit"), (1, "target_date")) if key not in kept)
        difference = F.when(F.col("left_out") == left_out, F.col("difference"))
        sums += [F.count(difference).alias(f"{name}s"), F.sum(difference * difference).alias(f"{name}_squares")]
    return clusters.groupBy(*_COMPARED).agg(*sums)


def _loss_of(model: str, loss: Column) -> Column:
    return F.max(F.when(F.col("model") == model, loss))


def _verdict(model: str, row: dict) -> dict:
    gain = 1 - row["own"] / row["other"] if row["other"] else None
    told = {name: row[name] for name in ("against", "loss", "series", "better_series")} | {"model": model, "gain": gain}
    # Centred: under chance alone each cluster would share the mean difference. By day, unit and cell alike.
    total = row["own"] - row["other"]
    variance = sum(
        sign * (row[f"{name}_squares"] - total**2 / row[f"{name}s"]) for name, (sign, _) in _CLUSTERS.items()
    )
    fewest = min(row["units"], row["days"])
    if gain is None or variance <= 0 or fewest < 2:
        return told | {"gain_low": None, "gain_high": None, "p_value": None}
    error = variance**0.5
    student = stats.t(fewest - 1)
    half = float(student.ppf((1 + SURE) / 2)) * error / row["other"]
    p_value = float(2 * student.sf(abs(total) / error))
    return told | {"gain_low": gain - half, "gain_high": gain + half, "p_value": p_value}
