"""The work of one rank, from its share of the series to the artifact; whoever launched it.

horovodrun -np 8 -H host1:4,host2:4 python -m forecasting.training.rank FOLDER   # of a training that `train` has laid out
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import sys
import tempfile
import traceback
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from forecasting.config import TrainingConfig
from forecasting.errors import ForecastingError
from forecasting.models import artifact
from forecasting.models.shared import SharedRows
from forecasting.models.spec import ModelSpec
from forecasting.training.reports import EVERY, Report, add_to_report, own_host, read_report, who_is_missing
from forecasting.training.ring import Ring, RingBroken
from forecasting.training.series_files import SeriesFiles
from forecasting.training.warm_start import take_over

_TASK = "task.pickle"


@dataclass(frozen=True)
class RankTask:
    """All that a rank needs to know. Its folder holds the series, the checkpoints, the reports and in the end the model.

    origin: number of the last period that training may see. note: kept with the model. threads: cores of a rank.
    parent: path of the model from which training goes on.
    """

    spec: ModelSpec
    shared: SharedRows
    origin: int
    config: TrainingConfig
    folder: str
    note: dict[str, Any]
    threads: int
    parent: str | None = None

    @property
    def series(self) -> str:
        """Folder of the series' files."""
        return f"{self.folder}/series"

    @property
    def reports(self) -> str:
        """Folder of what ranks tell of themselves."""
        return f"{self.folder}/ranks"

    @property
    def checkpoints(self) -> str:
        """Folder of the checkpoints."""
        return f"{self.folder}/checkpoints"

    @property
    def traces(self) -> str:
        """Folder of what ran when, if that was asked for; it stays."""
        return f"{self.folder}/traces"

    @property
    def request(self) -> str:
        """File that asks ranks to leave at a checkpoint, since there are places for more of them."""
        return f"{self.folder}/leave"

    def save(self) -> None:
        """Leaves the task in its folder, for ranks that are given no more than that."""
        artifact.write_bytes(f"{self.folder}/{_TASK}", pickle.dumps(self))

    @classmethod
    def load(cls, folder: str) -> RankTask:
        """The task that lies in a folder."""
        return pickle.loads(artifact.read_bytes(f"{folder}/{_TASK}"))

    def clear(self) -> None:
        """Deletes all that training alone needs, once the model is written."""
        for file in (f"{self.folder}/{_TASK}", self.request):
            artifact.delete(file)
        for folder in (self.series, self.reports, self.checkpoints):
            artifact.delete_folder(folder)


def run_rank(task: RankTask, joining: AbstractContextManager[Ring], rank: int = 0) -> None:
    """Joins the ring and trains in it. How it ended stands in the rank's report.

    Raises:
        TrainingError: the loss is no number, or a rank has no series.
        RingBroken: another rank is lost; it says which.
        Exception: a fault of the code or of what it stands on.
    """
    from forecasting.models.build import use_threads

    use_threads(task.threads)
    try:
        with joining as ring:
            train_in(ring, task)
    except RingBroken as error:
        missing = who_is_missing(task.reports, patience=max(2.5 * EVERY, task.config.rank_timeout / 2))
        told = f"Training lost a rank: {missing or 'all of them give signs of life'}. {error}"
        add_to_report(task.reports, rank, task.config.ranks, {"failed": told, "again": True})
        raise RingBroken(told) from error
    except Exception as error:
        own = isinstance(error, ForecastingError)
        at = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {at.filename}:{at.lineno}"
        told = str(error) if own else f"Training: rank {rank} on {own_host()} failed by {kind}: {error}"
        add_to_report(task.reports, rank, task.config.ranks, {"failed": told, "again": isinstance(error, OSError)})
        raise


def train_in(ring: Ring, task: RankTask) -> None:
    """Trains as one of the ranks of a ring; rank 0 writes the model, unless they leave before its end to train with more ranks."""
    from forecasting.models.build import build_model, use_gpu
    from forecasting.training.loop import Checkpoints, fit
    from forecasting.training.shard import Shard
    from forecasting.training.tracing import Tracing

    use_gpu(ring.local_rank)
    folder = Path(tempfile.mkdtemp(prefix="forecasting-shard-"))
    try:
        before = read_report(task.reports, ring.rank) or {}  # of an attempt that its launcher has begun anew
        with Report(task.reports, ring.rank, ring.size) as report:
            report({"before": before.get("failed", "")})
            try:
                shared = task.shared.of(task.spec.inputs)
                shard = Shard(folder, task.spec, shared, task.origin)
                shard.fill(SeriesFiles(task.series).share(ring.rank, ring.size))
                shutil.rmtree(folder, ignore_errors=True)  # mapped files stay until the process ends, however it does
                # Each rank starts from weights of its own; the broadcast of rank 0's makes them equal.
                model = build_model(task.spec, shared, task.config.seed + ring.rank)
                if task.parent and ring.rank == 0:
                    take_over(model, task.spec, task.parent)
                report({"weights_at_start": digest(model)})
                fewer = ring.size < task.config.ranks
                follows = fewer and ring.rank == 0 and task.config.launcher == "spark"
                asked = partial(_asked_to_leave, task) if follows else None
                with Tracing(task.traces, task.config.trace_steps, ring) as tracing:
                    checkpoints = Checkpoints(task.checkpoints)
                    state = fit(model, shard, task.config, ring, checkpoints, report, asked, tracing.step)
                if state.left:
                    report({"left": state.step})
                    return
                if ring.rank == 0:
                    began = f"from model {task.parent}" if task.parent else "from the start"
                    if step := report.now.get("resumed"):
                        began = f"resumed at step {step}"
                    result = {
                        "began": began,
                        "ranks": ring.size,
                        "steps": state.step,
                        "validation_wql": state.best,
                        "seconds": round(state.seconds, 1),
                        "history": state.history,
                    }
                    packed = artifact.pack(task.spec, state.best_weights, task.note | {"result": result})
                    artifact.write_bytes(f"{task.folder}/{artifact.FILE}", packed)
                    report(result)
                report({"weights_at_end": digest(model), "ended": True})
            except ForecastingError as error:
                report({"failed": str(error), "again": False})
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _asked_to_leave(task: RankTask) -> bool:
    try:
        return artifact.exists(task.request)
    except OSError:  # storage that does not answer asks for nothing
        return False


def digest(model) -> str:
    """Fingerprint of a model's weights."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in model.get_weights())).hexdigest()[:12]


def main() -> None:
    """A rank that horovodrun has started, or one that is alone."""
    from contextlib import nullcontext

    from forecasting.training.ring import SingleRank

    (folder,) = sys.argv[1:]
    task = RankTask.load(folder)
    if "HOROVOD_RANK" in os.environ:
        from forecasting.training.horovod_ring import launched_ring

        run_rank(task, launched_ring(task.config.compression), int(os.environ["HOROVOD_RANK"]))
    else:
        run_rank(task, nullcontext(SingleRank()))


if __name__ == "__main__":
    main()
