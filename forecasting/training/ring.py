"""The ranks that train together. The loop sees only `Ring`; the one module that imports Horovod makes the real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Ring(Protocol):
    """What a rank may ask of the others. Every rank must make the same calls in the same order."""

    rank: int
    size: int

    def average(self, gradients: Sequence) -> Sequence:
        """Mean over ranks of each tensor; usable inside a `tf.function`."""

    def broadcast(self, variables: Sequence) -> None:
        """Gives every rank the values of rank 0's TensorFlow variables."""

    def sum(self, values: Sequence[float]) -> np.ndarray:
        """Sum over ranks of each number."""


class SingleRank:
    """The ring of a process that trains alone."""

    rank, size = 0, 1

    def average(self, gradients: Sequence) -> Sequence:
        return gradients

    def broadcast(self, variables: Sequence) -> None:
        return None

    def sum(self, values: Sequence[float]) -> np.ndarray:
        return np.asarray(values, np.float64)
