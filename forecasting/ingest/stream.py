"""Sources that arrive as a stream: each run reads what came since the last one, exactly once, and stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from uuid import uuid4

from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import DataFrame

from forecasting.config import Config
from forecasting.errors import SourceError
from forecasting.ingest.dataset import Dataset
from forecasting.ingest.quality import Quality
from forecasting.ingest.read import first_line, read_stream, shaped
from forecasting.lake import Lake

Accept = Callable[[DataFrame, dict[str, Any], bool], Quality]


@dataclass(frozen=True)
class Stream:
    """What has been read of a source under one mapping. Its batches are noted in the commits of the bronze table, and
    Spark's own notes, of what each batch holds, are in `checkpoint`."""

    name: str
    id: str
    mapping: str
    checkpoint: str
    batch: int = -1  # the last one that the table holds; -1: none

    @classmethod
    def of(cls, lake: Lake, dataset: Dataset, name: str, config: Config, run_id: str) -> Stream:
        """The stream to go on with, or a new one for a source that has not been read or is to be read again.

        Raises:
            SourceError: the mapping is another one than that by which the table's rows were read.
        """
        noted = None if config.source.reread else _noted(lake, name)
        mapping = dataset.mapping(name, config.source.filter.get(name))
        if noted and noted["mapping"] != mapping:
            raise SourceError(
                f"Source {name}: expected the mapping by which the rows of its table were read, came another one in dataset "
                f"{dataset.name} or source.filter. Read all of it again with --set source.reread=true; what its folder or "
                "topic no longer holds is then gone. Rows in quarantine alone are checked again by `forecasting replay`."
            )
        # Not the run's id alone: a second run under the same id would go on with what the first one has read.
        id_ = noted["stream"] if noted else f"{run_id}-{uuid4().hex[:8]}"
        root = config.lake.checkpoints
        root = root if urlparse(root).scheme else str(Path(root).resolve())
        return cls(name, id_, mapping, f"{root.rstrip('/')}/{name}/{id_}", noted["batch"] if noted else -1)

    def note(self, batch: int) -> dict[str, Any]:
        """What is kept with the commit of a batch."""
        return {"stream": self.id, "batch": batch, "mapping": self.mapping}


def _noted(lake: Lake, name: str) -> Mapping[str, Any] | None:
    note = lake.note_of(name, "stream")  # rows that were replayed from quarantine since are no reason to read all again
    return note if note and "stream" in note else None


def read_new(
    lake: Lake, dataset: Dataset, stream: Stream, config: Config, accept: Callable[[Lake], Accept]
) -> list[Quality]:
    """Hands everything new to `accept`, batch by batch; what each batch was like.

    Args:
        accept: for a lake of the batch's session, a function of a batch's raw rows, its note, and whether it is the stream's
            first.

    Raises:
        ForecastingError: `accept` refused a batch. The next run begins with the same batch again.
        SourceError: the source cannot be read, or the table no longer holds all that was read before.
    """
    found: list[Quality] = []
    failed: list[Exception] = []

    def accept_batch(batch: DataFrame, number: int) -> None:
        own = Lake(batch.sparkSession, lake.config)  # a batch has a session of its own
        try:
            if number > stream.batch + len(found) + 1:
                raise SourceError(
                    f"Source {stream.name}: expected a table that holds the batches before {number}, came one that was taken "
                    f"back to batch {stream.batch}. Read all of it again with --set source.reread=true."
                )
            raw = shaped(batch, dataset, stream.name, config.source.path)
            found.append(accept(own)(raw, stream.note(number), number == 0))
        except Exception as error:  # Spark passes on only its text
            failed.append(error)
            raise

    raw = read_stream(lake.spark, dataset, stream.name, config.source.path)
    writer = raw.writeStream.foreachBatch(accept_batch).option("checkpointLocation", stream.checkpoint)
    try:
        writer.trigger(availableNow=True).queryName(f"ingest {stream.name}").start().awaitTermination()
    except (StreamingQueryException, PySparkException) as error:
        if failed:
            raise failed[0] from None
        raise SourceError(
            f"Source {stream.name}: expected a stream that can be read on from {stream.checkpoint}, came: {first_line(error)}. "
            "Mend it, or read all of it again with --set source.reread=true."
        ) from error
    return found
