"""The TensorFlow settings of a process, with GPUs that are not there."""

import os
from types import SimpleNamespace

import pytest
import tensorflow as tf

from forecasting.models.build import see_own_gpu, use_gpu


@pytest.fixture
def told(monkeypatch) -> dict:
    """What TensorFlow is told of two GPUs."""
    told: dict = {}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda device, kind: told.update(seen=device))
    growth = {"set_memory_growth": lambda device, enable: told.update({device: enable})}
    monkeypatch.setattr(tf.config, "experimental", SimpleNamespace(**growth))
    return told


@pytest.mark.parametrize(("number", "own"), [(0, "first"), (1, "second"), (5, "second")])
def test_a_process_takes_one_gpu_and_no_more_of_its_memory_than_it_needs(told, number, own):
    use_gpu(number)
    assert told == {"seen": own, own: True}


def test_a_task_sees_the_gpu_that_spark_gave_it(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    see_own_gpu({})
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"
    see_own_gpu({"gpu": SimpleNamespace(addresses=["3"])})
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
