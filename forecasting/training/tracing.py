"""What runs when in some steps of a training, on request: TensorFlow's profile of each rank, and Horovod's timeline of the ring."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path

import tensorflow as tf

from forecasting.models import artifact
from forecasting.training.ring import Ring

SETTLED = 10  # steps of a start before the first that is traced: compiling is another story


class Tracing:
    """Traces `steps` steps, none if that is None, and leaves what it saw in a folder, wherever that is: `timeline.json`, which
    chrome://tracing and ui.perfetto.dev show, and `rank-<n>/plugins/profile`, which TensorBoard's profiler shows."""

    def __init__(self, folder: str, steps: int | None, ring: Ring) -> None:
        self._folder, self._steps, self._ring = folder, steps, ring
        self._taken, self._at = 0, None

    def step(self) -> None:
        """To be called before each step."""
        if self._steps is None:
            return
        if self._taken == SETTLED:
            self._at = Path(tempfile.mkdtemp(prefix="forecasting-traces-"))
            self._ring.start_timeline(str(self._at / "timeline.json"))
            tf.profiler.experimental.start(str(self._at / f"rank-{self._ring.rank:04d}"))
        elif self._taken == SETTLED + self._steps:
            self._stop()
        self._taken += 1

    def __enter__(self) -> Tracing:
        return self

    def __exit__(self, kind: type | None, *of_error: object) -> None:
        with suppress(Exception) if kind else nullcontext():  # what ended training is worth more than its traces
            self._stop()

    def _stop(self) -> None:
        if self._at is None:
            return
        at, self._at = self._at, None
        try:
            tf.profiler.experimental.stop()
            self._ring.stop_timeline()
            for file in sorted(at.rglob("*")):
                if file.is_file():
                    artifact.write_bytes(f"{self._folder}/{file.relative_to(at).as_posix()}", file.read_bytes())
        finally:
            shutil.rmtree(at)
