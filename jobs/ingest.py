"""Files of the dataset to bronze tables; rows that break the contract to quarantine.

spark-submit --py-files dist/forecasting.zip jobs/ingest.py --conf conf/prod.yml
"""

from pyspark.sql import Observation

from forecasting.contracts import SOURCES
from forecasting.errors import QualityError
from forecasting.ingest import ingest
from forecasting.ingest.dataset import Dataset, load_dataset
from forecasting.ingest.quality import Quality, quality_of, stop_if_bad
from forecasting.lake import with_lineage
from forecasting.runtime import Figures, Run, entry_point


def execute(run: Run) -> Figures:
    """Read the sales log and its companions into bronze tables."""
    dataset = load_dataset(run.config.source)
    found = [ingest_source(run, dataset, name) for name in SOURCES]
    figures = {"rows": sum(q["rows_in"] for q in found), "quarantined": sum(q["rows_quarantined"] for q in found)}
    return figures | {q["source"]: q["rows_accepted"] for q in found if q["rows_in"]}


def ingest_source(run: Run, dataset: Dataset, name: str) -> Quality:
    """One source to its bronze table; a source that the dataset does not have gives an empty one."""
    before, observed = run.lake.version(name), Observation()
    checked = ingest.checked_source(run.spark, dataset, name, run.config.source)
    counted = ingest.counted(checked, observed)
    run.lake.write(with_lineage(ingest.accepted(counted), run_id=run.id), name)
    quality = quality_of(name, observed.get, run.lake.version(name))
    bad = with_lineage(ingest.quarantined(checked, name), **run.lineage())
    run.lake.write(bad if quality["rows_quarantined"] else bad.limit(0), "quarantine", replacing={"source": name})
    try:
        stop_if_bad(quality, run.config.quality)
    except QualityError:
        run.lake.restore(name, max(before, 0))
        raise
    run.lake.write(
        run.lake.frame([quality | run.lineage()], "data_quality"),
        "data_quality",
        replacing={"run_id": run.id, "source": name},
    )
    return quality


main = entry_point("ingest", execute)

if __name__ == "__main__":
    main()
