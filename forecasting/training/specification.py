"""What a model can learn from: the inputs that training data has, by the last period that training may see."""

from __future__ import annotations

from datetime import date

import numpy as np
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.lake import rows
from forecasting.models.batches import KINDS, vocabulary
from forecasting.models.shared import SharedRows, calendar_names, event_names, sees_years, signals_of
from forecasting.models.spec import (
    GROUPS,
    MOST_CLASSES,
    PAST,
    PLANNED,
    SMALLEST_CLASS,
    STATIC,
    Inputs,
    ModelSpec,
    model_spec,
)
from forecasting.periods import position

_KIND = "kind of promotion"


def specify(sequences: DataFrame, shared: SharedRows, config: Config, until: date, data_version: str) -> ModelSpec:
    """The specification of a model of this configuration and data.

    Args:
        sequences: those that have begun by `until`, the last period whose demand training may see.
    """
    found = rows(sequences.agg(*(F.count(name).alias(name) for name in (*PAST, *PLANNED, *GROUPS))))[0]
    words = _vocabularies(sequences)
    inputs = Inputs(
        past=tuple(name for name in PAST if found[name]),
        planned=tuple(name for name in PLANNED if found[name]),
        groups=tuple(name for name in GROUPS if found[name]),
        kinds=words.pop(_KIND),
        signals=signals_of(shared.covariates, int(position(np.datetime64(until), shared.grain)), shared.grain),
        calendars=calendar_names(shared.calendar, config.features.calendar),
        events=event_names(shared.calendar, until),
        yearly=sees_years(shared.calendar, until),
        vocabularies=words,
    )
    return model_spec(config, inputs, until, data_version)


def _vocabularies(sequences: DataFrame) -> dict[str, tuple[str, ...]]:
    """For each static column, and of the kinds of promotion, the values that enough of the series have, of very many the most
    frequent."""
    columns = [F.struct(F.lit(name).alias("name"), F.col(name).alias("value")) for name in STATIC]
    kinds = F.transform(F.map_keys(KINDS), lambda kind: F.struct(F.lit(_KIND).alias("name"), kind.alias("value")))
    values = sequences.select(F.inline(F.concat(F.array(*columns), kinds))).where(F.col("value").isNotNull())
    counted = values.groupBy("name", "value").agg(F.count(F.lit(1)).alias("series"))
    counts: dict[str, dict[str, int]] = {name: {} for name in (*STATIC, _KIND)}
    order = Window.partitionBy("name").orderBy(F.desc("series"), "value")
    known = counted.where(F.col("series") >= SMALLEST_CLASS).withColumn("place", F.row_number().over(order))
    for row in rows(known.where(F.col("place") <= MOST_CLASSES), most=MOST_CLASSES * (len(STATIC) + 1)):
        counts[row["name"]][row["value"]] = row["series"]
    return {name: vocabulary(series) for name, series in counts.items()}
