"""Files and streams of the dataset to bronze tables; rows that break the contract to quarantine.

spark-submit --py-files dist/forecasting.zip jobs/ingest.py --conf conf/prod.yml
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from forecasting.contracts import SOURCES
from forecasting.ingest.check import Zones, check_source, empty_source, time_zones
from forecasting.ingest.dataset import Dataset, load_dataset
from forecasting.ingest.delivery import Whole, deliver, finish_whole, write_whole
from forecasting.ingest.quality import Quality
from forecasting.ingest.read import read_source
from forecasting.ingest.stream import Stream, read_new
from forecasting.lake import Lake
from forecasting.runtime import Figures, Run, entry_point

#: Sources that are read side by side. A file of one row group keeps one core busy, and small sources cost only overhead.
SOURCES_AT_ONCE = 3


def execute(run: Run) -> Figures:
    """Read the sales log and its companions into bronze tables."""
    dataset = load_dataset(run.config.source)
    wanted = [name for name in SOURCES if name in dataset.sources or run.lake.exists(name)]
    streams = [name for name in wanted if name in dataset.sources and dataset.sources[name].arrives == "stream"]
    sources, found, zones = [], [], None
    if "locations" in wanted:  # first, since business days need the time zones of locations
        if "locations" in streams:
            found += read_stream(run, dataset, "locations", None)
        else:
            sources.append(read_whole(run, dataset, "locations", None))
        zones = time_zones(run.lake.read("locations"), dataset)
    rest = [name for name in wanted if name != "locations"]
    with ThreadPoolExecutor(SOURCES_AT_ONCE) as pool:
        whole = [name for name in rest if name not in streams]
        sources += pool.map(lambda name: read_whole(run, dataset, name, zones), whole)
    found += finish_whole(run.lake, sources, run.config.quality, run.lineage())
    for name in rest:
        if name in streams:
            found += read_stream(run, dataset, name, zones)
    figures = {"rows": sum(q["rows_in"] for q in found), "quarantined": sum(q["rows_quarantined"] for q in found)}
    return figures | {name: sum(q["rows_accepted"] for q in found if q["source"] == name) for name in wanted}


def read_whole(run: Run, dataset: Dataset, name: str, zones: Zones | None) -> Whole:
    """One source to its bronze table; one that the dataset does not have any more gives an empty one."""
    if name in dataset.sources:
        raw = read_source(run.spark, dataset, name, run.config.source.path)
        checked = check_source(raw, dataset, name, run.config.source.filter.get(name), zones)
    else:
        checked = empty_source(run.spark, name)
    return write_whole(run.lake, dataset, name, checked, run.lineage())


def read_stream(run: Run, dataset: Dataset, name: str, zones: Zones | None) -> list[Quality]:
    """What is new of one source to its bronze table."""
    stream = Stream.of(run.lake, dataset, name, run.config, run.id)

    def accept(lake: Lake):
        def accept_batch(raw, note, first):
            checked = check_source(raw, dataset, name, run.config.source.filter.get(name), zones)
            return deliver(lake, dataset, name, checked, note, run.config.quality, run.lineage(), first)

        return accept_batch

    return read_new(run.lake, dataset, stream, run.config, accept)


main = entry_point("ingest", execute)

if __name__ == "__main__":
    main()
