"""A network with its weights made, and the TensorFlow settings of a process."""

from __future__ import annotations

import os
from functools import cache

from forecasting.models.batches import empty_input
from forecasting.models.shared import Shared
from forecasting.models.spec import ModelSpec


@cache
def use_threads(threads: int) -> None:
    """Keeps TensorFlow to the cores that this process owns; only the first call in a process has an effect."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow has started already, with the settings of whoever came first
        return


def build_model(spec: ModelSpec, shared: Shared, seed: int = 0):
    """The network of a specification with fresh weights; the same seed gives the same weights."""
    import keras
    import tensorflow as tf

    from forecasting.models.network import DemandNetwork

    keras.utils.set_random_seed(seed)
    model = DemandNetwork(spec)
    model(empty_input(spec, shared, 1), tf.constant([spec.patches - 1]))
    return model
