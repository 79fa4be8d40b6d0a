"""A network with its weights made, and the TensorFlow settings of a process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from forecasting.models.batches import empty_input
from forecasting.models.shared import Shared
from forecasting.models.spec import ModelSpec


@cache
def use_threads(threads: int) -> None:
    """Keeps TensorFlow to the cores that this process owns; only the first call in a process has an effect."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    with _quiet():
        import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow has started already, with the settings of whoever came first
        return


def see_own_gpu(resources: Mapping[str, Any]) -> None:
    """Lets this process see the GPU alone that Spark gave its task, if it did; only before TensorFlow starts.

    Args:
        resources: `TaskContext.resources()`.
    """
    if "gpu" in resources:
        os.environ["CUDA_VISIBLE_DEVICES"] = resources["gpu"].addresses[0]


def use_gpu(number: int) -> None:
    """Keeps TensorFlow to one of the GPUs that this process sees, and to the memory that it comes to need, so that others have room beside
    it; without effect where there is none, and once TensorFlow has started."""
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        try:
            own = gpus[number % len(gpus)]
            tf.config.set_visible_devices(own, "GPU")
            tf.config.experimental.set_memory_growth(own, enable=True)
        except RuntimeError:
            return


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing reaches standard error: importing TensorFlow tells there of its instructions before it reads how much to tell."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def build_model(spec: ModelSpec, shared: Shared, seed: int = 0):
    """The network of a specification with fresh weights; the same seed gives the same weights."""
    import keras
    import tensorflow as tf

    from forecasting.models.network import DemandNetwork

    keras.utils.set_random_seed(seed)
    model = DemandNetwork(spec)
    model(empty_input(spec, shared, 1), tf.constant([spec.patches - 1]))
    return model
