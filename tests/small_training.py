"""Small trainings, laid out in a folder as `train` lays them out."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_sequences import ORIGIN, small_config, small_rows, small_sequences, small_spec

from forecasting.models import artifact
from forecasting.training.rank import RankTask

SETTINGS = (
    "training.batch_size=16",
    "training.epochs=6",
    "training.validate_every=6",
    "training.origins_per_series=4",
    "training.averaging=0",
)


def small_task(folder: Path, *settings: str) -> RankTask:
    """Of 48 series in two files."""
    (folder / "series").mkdir(parents=True)
    series = pa.Table.from_batches([small_sequences(48)])
    for number, part in enumerate((series.slice(0, 32), series.slice(32))):
        pq.write_table(part, folder / "series" / f"part-{number:05d}.parquet")
    config = small_config(*SETTINGS, *settings).training
    return RankTask(small_spec(), small_rows(), ORIGIN, config, str(folder), {}, threads=1)


def weights_of(task: RankTask) -> np.ndarray:
    """All weights of the model that a training has written."""
    _, weights, _ = artifact.unpack(artifact.read_bytes(f"{task.folder}/{artifact.FILE}"))
    return np.concatenate([each.ravel() for each in weights])
