"""The ranks that train together. The loop sees only `Ring`; the one module that imports Horovod makes the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from forecasting.errors import TrainingError


class RingBroken(TrainingError):
    """A rank no longer answers the others."""


class Ring(Protocol):
    """What a rank may ask of the others. Every rank must make the same calls in the same order; any of them may find the ring
    broken."""

    rank: int
    size: int
    local_rank: int  # among those of its machine

    def average(self, gradients: Sequence) -> Sequence:
        """Mean over ranks of each tensor; usable inside a `tf.function`."""

    def broadcast(self, variables: Sequence) -> None:
        """Gives every rank the values of rank 0's TensorFlow variables."""

    def sum(self, values: Sequence[float]) -> np.ndarray:
        """Sum over ranks of each number."""

    def start_timeline(self, path: str) -> None:
        """Begins to write what the ring does when to a file of this machine, on rank 0."""

    def stop_timeline(self) -> None:
        """Ends that; the file is whole when it returns."""

    def regroup(self, before: Callable[[], None]) -> None:
        """Where ranks have come or are to go: calls `before`, then leaves the training, which begins anew in the new ring."""


class SingleRank:
    """The ring of a process that trains alone."""

    rank, size, local_rank = 0, 1, 0

    def average(self, gradients: Sequence) -> Sequence:
        return gradients

    def broadcast(self, variables: Sequence) -> None:
        return None

    def sum(self, values: Sequence[float]) -> np.ndarray:
        return np.asarray(values, np.float64)

    def regroup(self, before: Callable[[], None]) -> None:
        return None

    def start_timeline(self, path: str) -> None:
        return None

    def stop_timeline(self) -> None:
        return None
