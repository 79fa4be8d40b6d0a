"""Files of the dataset to bronze tables; rows that break the contract to quarantine.

spark-submit --py-files dist/forecasting.zip jobs/ingest.py --conf conf/prod.yml
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, Observation

from forecasting.contracts import SOURCES
from forecasting.errors import QualityError
from forecasting.ingest import ingest
from forecasting.ingest.dataset import Dataset, load_dataset
from forecasting.ingest.quality import Quality, quality_of, stop_if_bad
from forecasting.lake import with_lineage
from forecasting.runtime import Figures, Run, entry_point

#: Sources that are read side by side. A file of one row group keeps one core busy, and small sources cost only overhead.
SOURCES_AT_ONCE = 3


@dataclass(frozen=True)
class Ingested:
    """One source after its accepted rows were written."""

    quality: Quality
    quarantined: DataFrame
    version_before: int  # of its bronze table; -1: there was none


def execute(run: Run) -> Figures:
    """Read the sales log and its companions into bronze tables."""
    dataset = load_dataset(run.config.source)
    with ThreadPoolExecutor(SOURCES_AT_ONCE) as pool:
        sources = list(pool.map(lambda name: ingest_source(run, dataset, name), SOURCES))
    write_quarantine(run, sources)
    found = [source.quality for source in sources]
    try:
        for quality in found:
            stop_if_bad(quality, run.config.quality)
    except QualityError:
        for source in sources:
            run.lake.restore(source.quality["source"], max(source.version_before, 0))
        raise
    records = run.lake.frame([quality | run.lineage() for quality in found], "data_quality")
    run.lake.write(records, "data_quality", replacing={"run_id": run.id})
    figures = {"rows": sum(q["rows_in"] for q in found), "quarantined": sum(q["rows_quarantined"] for q in found)}
    return figures | {q["source"]: q["rows_accepted"] for q in found if q["rows_in"]}


def ingest_source(run: Run, dataset: Dataset, name: str) -> Ingested:
    """One source to its bronze table; a source that the dataset does not have gives an empty one."""
    before, observed = run.lake.version(name), Observation()
    checked = ingest.checked_source(run.spark, dataset, name, run.config.source)
    counted = ingest.counted(checked, observed)
    run.lake.write(with_lineage(ingest.accepted(counted), run_id=run.id), name)
    quality = quality_of(name, observed.get, run.lake.version(name))
    return Ingested(quality, ingest.quarantined(checked, name), before)


def write_quarantine(run: Run, sources: Iterable[Ingested]) -> None:
    """Replaces the quarantine by what these sources' rows broke; only sources with such rows are read once more."""
    bad = [source.quarantined for source in sources if source.quality["rows_quarantined"]]
    frame = with_lineage(reduce(DataFrame.union, bad), **run.lineage()) if bad else run.lake.frame([], "quarantine")
    run.lake.write(frame, "quarantine")


main = entry_point("ingest", execute)

if __name__ == "__main__":
    main()
