"""What a scoring worker makes at its first call."""

import os
from types import SimpleNamespace

import pytest
from small_sequences import ORIGIN, small_rows, small_sequences, small_shared, small_spec

from forecasting.models import artifact
from forecasting.models.build import build_model
from forecasting.scoring import score
from forecasting.scoring.predict import Predictor


@pytest.fixture(scope="module")
def packed():
    return artifact.pack(small_spec(), build_model(small_spec(), small_shared(), seed=4).get_weights(), {})


@pytest.mark.parametrize(("resources", "seen"), [({}, "0,1"), ({"gpu": SimpleNamespace(addresses=["1"])}, "1")])
def test_a_worker_shares_the_gpus_with_the_others(packed, monkeypatch, resources, seen):
    numbers: list[int] = []
    context = SimpleNamespace(resources=lambda: resources, partitionId=lambda: 5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(score, "use_gpu", numbers.append)
    monkeypatch.setattr(score, "_LOADED", {})
    monkeypatch.setattr(score, "TaskContext", SimpleNamespace(get=lambda: context))
    for _ in range(2):
        score._loaded("key", packed, small_rows(), ORIGIN, 24)
    assert numbers == [5]  # of its partition, once
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_xla_gives_the_same_forecasts(packed):
    batch = small_sequences()
    plain, compiled = (Predictor(packed, small_rows(), ORIGIN, 24, xla=xla).predict(batch) for xla in (False, True))
    for one, other in zip(plain, compiled, strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-5)
