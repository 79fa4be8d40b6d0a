"""The series of a training as plain Parquet files. Whoever launches the ranks, and however many there are, each reads an even
share of the rows for itself: in parallel, a few rows at a time, without Spark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from forecasting.lake import Lake
from forecasting.models.artifact import exists, filesystem, list_files

KEY = ("item_id", "location_id")
SERIES_A_FILE = 2_048
AT_ONCE = 512  # series read together


def lay_out(series: DataFrame, columns: Sequence[str], folder: str, lake: Lake) -> None:
    """Writes these columns of all series, unless an earlier start has written them whole.

    Rows are spread by their key and sorted within each file, so that the same data gives the same files in the same order
    whatever the cluster.
    """
    if exists(f"{folder}/_SUCCESS"):
        return
    files = -(-series.count() // SERIES_A_FILE) or 1
    lake.export(series.select(*columns).repartition(files, *KEY).sortWithinPartitions(*KEY), folder)


class SeriesFiles:
    """The rows of the files of a folder, laid end to end in the order of their names."""

    def __init__(self, folder: str) -> None:
        self._system, path = filesystem(folder)
        names = [name for name in list_files(folder) if name.endswith(".parquet")]
        self._paths = [f"{path}/{name}" for name in names]
        self._rows = [pq.read_metadata(path, filesystem=self._system).num_rows for path in self._paths]

    @property
    def rows(self) -> int:
        """Series of all ranks together."""
        return sum(self._rows)

    def share(self, rank: int, size: int) -> Iterator[pa.RecordBatch]:
        """The rows of one of `size` ranks: those from rank / size of all of them to (rank + 1) / size."""
        begin, end, at = self.rows * rank // size, self.rows * (rank + 1) // size, 0
        for path, rows in zip(self._paths, self._rows, strict=True):
            if at < end and at + rows > begin:
                yield from self._read(path, max(begin - at, 0), min(end - at, rows))
            at += rows

    def _read(self, path: str, begin: int, end: int) -> Iterator[pa.RecordBatch]:
        at = 0
        with self._system.open_input_file(path) as file:
            for batch in pq.ParquetFile(file).iter_batches(AT_ONCE):
                wanted = batch.slice(max(begin - at, 0), max(min(end - at, len(batch)) - max(begin - at, 0), 0))
                at += len(batch)
                if len(wanted):
                    yield wanted
                if at >= end:
                    return
