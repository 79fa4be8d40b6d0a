"""Two ranks in a real Horovod ring over Spark's barrier tasks."""

import numpy as np
import pytest
from pyspark.sql import functions as F

from forecasting.errors import TrainingError
from forecasting.models import artifact
from forecasting.origins import training_ends
from forecasting.scoring.shared import shared_rows
from forecasting.training.train import train


def trained(small_run, make_config, folder, *settings):
    lake = small_run.run.lake
    sequences = lake.read("sequences")
    data = sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("last")).first()
    config = make_config(*small_run.settings, f"lake.model_path={folder}", *settings)
    return (
        train(
            sequences,
            shared_rows(lake),
            lake,
            config,
            data["version"],
            training_ends(data["last"], config)[-1],
            small_run.run.progress,
        ),
        config,
        data["version"],
    )


def model_of(config, small_run, data_version):
    last = small_run.run.lake.read("sequences").agg(F.max("last_period").alias("last")).first()["last"]
    return artifact.trained_model(config, data_version, training_ends(last, config)[-1])[0]


@pytest.mark.slow
def test_ranks_start_from_different_seeds_and_end_with_equal_weights_and_a_lower_loss(small_run, make_config, tmp_path):
    result, config, data_version = trained(small_run, make_config, tmp_path, "training.epochs=12")
    assert len(set(result["weights_at_start"])) == 2
    assert len(result["weights_at_end"]) == 2 and len(set(result["weights_at_end"])) == 1
    assert result["validation_wql"] < 0.97 * result["history"][0]["wql"]
    spec, weights, note = artifact.unpack(model_of(config, small_run, data_version))
    assert spec.data_version == data_version and weights
    assert note["configuration"]["training"]["ranks"] == 2
    assert [path.name for path in (tmp_path / result["model_version"]).iterdir()] == [artifact.FILE]


def test_the_same_training_again_gives_the_same_weights_and_is_not_done_twice(small_run, make_config, tmp_path):
    _, config, data_version = trained(small_run, make_config, tmp_path)
    mine, again = (artifact.unpack(model_of(c, small_run, data_version))[1] for c in (small_run.run.config, config))
    for one, other in zip(mine, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert trained(small_run, make_config, tmp_path)[0]["began"] == "already trained"


def test_more_ranks_than_slots_is_a_clear_error(small_run, make_config, tmp_path):
    with pytest.raises(TrainingError, match="expected at most 2, the number of tasks that Spark can run at once"):
        trained(small_run, make_config, tmp_path, "training.ranks=4")
