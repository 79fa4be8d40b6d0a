"""Trees: what an example knows, and what is made of the boosters' words."""

import numpy as np
import pytest

from forecasting.baselines.tree_features import LEVEL, feature_names, features, scales
from forecasting.baselines.trees import NAME, TreeModel, TreeTask, draw_examples, fit_trees, pack, unpack
from forecasting.config import TreesConfig
from forecasting.errors import ArtifactError
from forecasting.models.batches import to_block
from forecasting.models.shared import PLAIN
from tests.small_sequences import HORIZON, LAST, ORIGIN, changed, small_rows, small_sequences, small_shared, small_spec

SPEC = small_spec()
WIDTH = SPEC.context
NAMES = feature_names(SPEC)
SETTINGS = TreesConfig(rounds=5, learning_rate=0.3, leaves=5, min_data_in_leaf=5, rows_per_rank=5000, tweedie_power=1.2)


def task(**changes) -> TreeTask:
    origin = ORIGIN - HORIZON
    values = {"spec": SPEC, "shared": small_rows(), "origin": origin, "series": 24, "config": SETTINGS}
    return TreeTask(**{**values, "ranks": 1, "threads": 1, "seed": 3, **changes})


def table(batch, origins: np.ndarray) -> np.ndarray:
    block = to_block(batch, SPEC, small_shared(), ORIGIN, WIDTH)
    return features(block, origins, SPEC, small_shared(), ORIGIN - WIDTH + 1)


def named(found: np.ndarray, name: str) -> np.ndarray:
    return found[..., NAMES.index(name)]


@pytest.fixture(scope="module")
def trees() -> bytes:
    return fit_trees(*draw_examples(iter([small_sequences()]), task(), 0), task())


def test_features_agree_with_a_loop():
    batch, origins = small_sequences(), np.array([WIDTH - 20, WIDTH - 1])
    found = table(batch, origins)
    assert found.shape == (24, 2, HORIZON, len(NAMES))
    for row in (0, 5, 11):
        quantity, states = (np.asarray(batch[name][row].as_py(), float) for name in ("quantity", "state"))
        sales, quantity, told = quantity, quantity * (states != 4), states != 4
        for number, origin in enumerate(origins):
            sold, known, counts = (
                x[: len(quantity) - (WIDTH - 1 - origin)][-(origin + 1) :] for x in (sales, quantity, told)
            )
            recent, seen = known[-LEVEL * 7 :], counts[-LEVEL * 7 :]
            level = max(recent.sum() / max(seen.sum(), 1), np.sum(sold[-LEVEL * 7 :]) / max(len(sold[-LEVEL * 7 :]), 1))
            scale = np.sqrt(level + level**2) + 0.05
            assert named(found, "scale")[row, number, 0] == pytest.approx(scale, rel=1e-5)
            week = known[-7:].sum() / max(counts[-7:].sum(), 1) / scale
            assert named(found, "mean_1")[row, number, 0] == pytest.approx(week, rel=1e-4, abs=1e-6)
            for ahead in (1, HORIZON):
                back = 7 - (ahead - 1) % 7
                lag = known[-back] / scale if back <= len(known) else 0.0
                assert named(found, "lag_1")[row, number, ahead - 1] == pytest.approx(lag, rel=1e-4, abs=1e-6)
                assert named(found, "ahead")[row, number, ahead - 1] == ahead
            since = len(known) - 1 - np.flatnonzero(known > 0)[-1] if known.any() else None
            if since is not None:
                assert named(found, "since_sale")[row, number, 0] == since


def test_the_weekday_is_that_of_the_day_ahead():
    found = table(small_sequences(), np.array([WIDTH - 1]))
    for ahead in range(HORIZON):
        weekday = (LAST.weekday() + 1 + ahead) % 7
        assert named(found, f"calendar_{weekday}")[0, 0, ahead] == 1
    assert PLAIN > 7


@pytest.mark.parametrize("name", ["quantity", "price", "discount", "views", "state", "item_demand", "category_demand"])
def test_what_comes_behind_an_origin_is_not_read(name):
    origins = np.array([WIDTH - 1 - HORIZON])
    batch = small_sequences()
    np.testing.assert_array_equal(table(batch, origins), table(changed(batch, name, HORIZON, add=1), origins))


@pytest.mark.parametrize("name", ["quantity", "state"])
def test_training_does_not_read_behind_its_end(name):
    batch = small_sequences()
    one, two = (draw_examples(iter([b]), task(), 0) for b in (batch, changed(batch, name, HORIZON, add=1)))
    for before, after in zip(one, two, strict=True):
        np.testing.assert_array_equal(before, after)


def test_examples_hold_demand_over_its_scale_and_stay_within_the_bound():
    x, y, weight = draw_examples(iter([small_sequences()]), task(), 0)
    assert len(x) == len(y) == len(weight) > 100
    np.testing.assert_allclose(weight, x[:, NAMES.index("scale")], rtol=1e-5)
    units = y * weight
    np.testing.assert_allclose(units, np.round(units), atol=1e-4)
    few = TreesConfig(**{**SETTINGS.model_dump(), "rows_per_rank": 200})
    assert len(draw_examples(iter([small_sequences()]), task(config=few), 0)[0]) < 260


def test_quantiles_rise_in_whole_units_and_a_series_does_not_depend_on_its_companions(trees):
    batch = small_sequences()
    mean, quantiles = TreeModel(trees, small_rows()).forecasts(batch, LAST)[NAME]
    assert mean.shape == (24, HORIZON) and quantiles.shape == (24, HORIZON, len(SPEC.quantiles))
    assert (mean >= 0).all() and (quantiles >= 0).all() and (np.diff(quantiles, axis=-1) >= 0).all()
    assert (quantiles == np.round(quantiles)).all() and quantiles.max() > 1
    alone = TreeModel(trees, small_rows()).forecasts(batch.slice(7, 1), LAST)[NAME]
    np.testing.assert_allclose(alone[0], mean[7:8], rtol=1e-6)
    np.testing.assert_allclose(alone[1], quantiles[7:8])


def test_bigger_sellers_are_forecast_to_sell_more(trees):
    batch = small_sequences()
    mean, _ = TreeModel(trees, small_rows()).forecasts(batch, LAST)[NAME]
    block = to_block(batch, SPEC, small_shared(), ORIGIN, WIDTH)
    level = scales(block, np.array([WIDTH - 1]), 7)[:, 0]
    assert np.corrcoef(level, mean.mean(axis=1))[0, 1] > 0.9


def test_the_same_examples_give_the_same_bytes(trees):
    assert trees == fit_trees(*draw_examples(iter([small_sequences()]), task(), 0), task())


def test_a_broken_artifact_is_named(trees):
    assert unpack(trees)[0] == SPEC
    for broken in (trees[: len(trees) // 2], b"", pack(SPEC, {}).replace(b"spec.json", b"spec.yaml")):
        with pytest.raises(ArtifactError, match="Train again"):
            unpack(broken)
