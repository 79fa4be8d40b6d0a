"""Trees trained through Spark's barrier tasks, by one rank and by two that grow each tree together."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from forecasting.baselines.floors import row_quantiles
from forecasting.baselines.trees import NAME, TreeModel, TreeTask, train_trees, unpack
from forecasting.config import TreesConfig
from forecasting.features.calendar import calendar_features
from forecasting.models.shared import SharedRows
from forecasting.models.spec import Inputs, model_spec
from forecasting.periods import position
from forecasting.states import State
from tests.small_sequences import equal_sequences, small_config

SERIES, DAYS, HORIZON = 60, 500, 14
FIRST = date(2022, 1, 1)
UNTIL = FIRST + timedelta(DAYS - HORIZON - 1)  # the last horizon is not for training
LEVELS = (0.1, 0.5, 0.9)
SETTINGS = TreesConfig(
    rounds=25, learning_rate=0.15, leaves=15, min_data_in_leaf=40, rows_per_rank=12000, tweedie_power=1.2
)


@pytest.fixture(scope="module")
def sequences() -> pa.Table:
    """Poisson demand in a week that all series share, each at its own level, a twentieth of the days out of stock."""
    rng = np.random.default_rng(5)
    week = np.array([0.3, 0.5, 0.7, 1.0, 1.3, 2.0, 1.2])
    out_of_stock = rng.random((SERIES, DAYS)) < 0.05
    quantity = rng.poisson(rng.gamma(1.0, 4.0, (SERIES, 1)) * week[np.arange(DAYS) % 7]) * ~out_of_stock
    state = np.where(out_of_stock, State.OUT_OF_STOCK, State.SOLD)
    return pa.Table.from_batches([equal_sequences(quantity, FIRST, DAYS, state)])


@pytest.fixture(scope="module")
def shared() -> SharedRows:
    calendar = calendar_features(FIRST, DAYS + HORIZON, "day", "US", None, (), [], None).assign(calendar="US")
    return SharedRows(pd.DataFrame(calendar), None, "day")


@pytest.fixture(scope="module")
def trained(spark, sequences, shared):
    """Trains trees with so many ranks."""
    config = small_config("model.context=182", f"forecast.horizon={HORIZON}")
    spec = replace(model_spec(config, Inputs(calendars=("US",), vocabularies={}), UNTIL, "data"), quantiles=LEVELS)
    frame = spark.createDataFrame(sequences).cache()

    def train(ranks: int) -> bytes:
        origin = int(position(np.datetime64(UNTIL), "day"))
        rows = SETTINGS.rows_per_rank // ranks
        settings = TreesConfig(**{**SETTINGS.model_dump(), "rows_per_rank": rows})
        return train_trees(frame, TreeTask(spec, shared, origin, SERIES, settings, ranks, 1, 17))

    yield train
    frame.unpersist()


@pytest.fixture(scope="module")
def artifacts(trained) -> dict[int, bytes]:
    return {ranks: trained(ranks) for ranks in (1, 2)}


def pinball(actual: np.ndarray, quantiles: np.ndarray, counts: np.ndarray) -> float:
    error = actual[..., None] - quantiles
    levels = np.array(LEVELS)
    return float((np.maximum(levels * error, (levels - 1) * error) * counts[..., None]).sum())


@pytest.mark.parametrize("ranks", [1, 2])
def test_trees_forecast_better_than_a_constant(ranks, artifacts, sequences, shared):
    spec, boosters = unpack(artifacts[ranks])
    assert spec.quantiles == LEVELS and len(boosters) == 1 + len(LEVELS)
    [batch] = sequences.combine_chunks().to_batches()
    mean, quantiles = TreeModel(artifacts[ranks], shared).forecasts(batch, UNTIL)[NAME]
    assert mean.shape == (SERIES, HORIZON) and quantiles.shape == (SERIES, HORIZON, len(LEVELS))
    assert np.isfinite(mean).all() and np.isfinite(quantiles).all()
    quantity = np.stack(sequences["quantity"].to_numpy())
    sold = np.stack(sequences["state"].to_numpy()) != State.OUT_OF_STOCK
    past, actual, counts = quantity[:, :-HORIZON], quantity[:, -HORIZON:], sold[:, -HORIZON:]
    seen = np.where(sold[:, :-HORIZON], past, np.nan)
    constant = np.repeat(row_quantiles(seen, LEVELS)[:, None], HORIZON, axis=1)
    assert pinball(actual, quantiles, counts) < 0.95 * pinball(actual, constant, counts)
    same_mean = np.nanmean(seen, axis=1, keepdims=True)
    assert (np.abs(mean - actual) * counts).sum() < 0.95 * (np.abs(same_mean - actual) * counts).sum()


def test_ranks_grow_their_trees_from_the_series_of_all(artifacts, sequences, shared):
    # Each of two ranks holds half of the series: what it says of the other half shows that it learnt from that too.
    [batch] = sequences.combine_chunks().to_batches()
    alone, together = (TreeModel(artifacts[ranks], shared).forecasts(batch, UNTIL)[NAME][0] for ranks in (1, 2))
    assert np.corrcoef(np.log(alone.ravel() + 0.05), np.log(together.ravel() + 0.05))[0, 1] > 0.97
    examples = [_examples_at_the_root(artifacts[ranks]) for ranks in (1, 2)]
    assert examples[1] == pytest.approx(examples[0], rel=0.1)


def _examples_at_the_root(artifact: bytes) -> int:
    """Examples, of all ranks together, that the first tree of the mean was grown from, but for those left out by bagging."""
    text = unpack(artifact)[1]["mean"]
    [counts, *_] = [line for line in text.splitlines() if line.startswith("leaf_count=")]
    return sum(int(count) for count in counts.removeprefix("leaf_count=").split())


def test_the_same_training_by_as_many_ranks_gives_the_same_trees(trained, artifacts):
    # Without LightGBM's note of its parameters, which has the ports of the ranks.
    grown, again = (
        {name: text.partition("\nparameters:")[0] for name, text in unpack(artifact)[1].items()}
        for artifact in (artifacts[2], trained(2))
    )
    assert again == grown and all("Tree=24" in text for text in grown.values())
