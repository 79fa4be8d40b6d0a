import numpy as np
import pytest

from forecasting.config import load_config
from forecasting.models.artifact import FILE, pack
from forecasting.report.training import read_training
from tests.small_sequences import small_spec

HISTORY = [{"step": 100, "wql": 0.9, "seconds": 20.0}, {"step": 200, "wql": 0.6, "seconds": 42.0}]
RESULT = {"steps": 250, "seconds": 61.0, "validation_wql": 0.6, "history": HISTORY}


@pytest.fixture
def config(tmp_path):
    return load_config(settings=[f"lake.path={tmp_path}"])


def keep(tmp_path, content: bytes) -> None:
    folder = tmp_path / "_models" / "m1"
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(content)


def test_the_artifact_tells_its_validations(config, tmp_path):
    keep(tmp_path, pack(small_spec(), [np.zeros(2)], {"result": RESULT}))
    found = read_training(config, "m1")
    assert (found.model_version, found.steps, found.seconds, found.history) == ("m1", 250, 61.0, HISTORY)
    assert found.best == HISTORY[1]


def test_a_model_without_an_artifact_is_none(config):
    assert read_training(config, "recent_quantiles 0.1.0") is None


@pytest.mark.parametrize("content", [b"cut short", pack(small_spec(), [], {})])
def test_an_artifact_that_does_not_tell_is_none(config, tmp_path, content):
    keep(tmp_path, content)
    assert read_training(config, "m1") is None
