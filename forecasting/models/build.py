"""A network with its weights made, and the TensorFlow settings of a process."""

from __future__ import annotations

import os
from functools import cache

import numpy as np

from forecasting.models.spec import CALENDAR, KNOWN, PAST, STATIC, ModelSpec


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


def build_model(spec: ModelSpec, seed: int = 0):
    """The network of a specification with fresh weights; the same seed gives the same weights."""
    import keras
    import tensorflow as tf

    from forecasting.models.transformer import DemandTransformer

    keras.utils.set_random_seed(seed)
    model = DemandTransformer(spec)
    model(empty_inputs(spec, 1), tf.constant([spec.patches - 1]))
    return model


def empty_inputs(spec: ModelSpec, series: int) -> dict[str, np.ndarray]:
    """Network input of the right shapes and types, all zero."""
    ahead = spec.context + spec.horizon
    return {
        "quantity": np.zeros((series, spec.context), np.float32),
        "observed": np.zeros((series, spec.context), np.float32),
        "past": np.zeros((series, spec.context, len(PAST)), np.float32),
        "known": np.zeros((series, ahead, len(KNOWN)), np.float32),
        "static": np.zeros((series, len(STATIC)), np.int32),
        "plan": np.ones(series, np.float32),
        "calendar": np.zeros((ahead, CALENDAR + 1), np.float32),
    }
