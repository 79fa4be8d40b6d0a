"""Rows in quarantine, checked again after the mapping or a rule was mended.

spark-submit --py-files dist/forecasting.zip jobs/replay.py --conf conf/prod.yml --source sales
"""

import argparse
from collections.abc import Sequence

from forecasting.config import load_config
from forecasting.ingest.check import time_zones
from forecasting.ingest.dataset import load_dataset
from forecasting.ingest.replay import replay
from forecasting.runtime import Figures, Run, add_options, friendly_errors, start_run


def execute(run: Run, source: str, rules: Sequence[str] = ()) -> Figures:
    """Check the quarantined rows of a source again, by its mapping and rules as they are now."""
    dataset = load_dataset(run.config.source)
    zones = time_zones(run.lake.read_or_empty("locations"), dataset)
    quality = replay(run.lake, dataset, source, run.config, zones, run.lineage(), rules)
    if quality is None:
        return {"rows": 0}
    return {
        "rows": quality["rows_in"],
        "accepted": quality["rows_accepted"],
        "quarantined": quality["rows_quarantined"],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Check the quarantined rows of a source that arrives as a stream again, after its mapping or rules were mended."""
    parser = argparse.ArgumentParser(prog="forecasting replay", description=main.__doc__)
    add_options(parser)
    parser.add_argument("--source", default="sales", help="whose rows; default: sales")
    parser.add_argument(
        "--rule", action="append", default=[], help="rows that broke this rule; repeatable; default: all"
    )
    options = parser.parse_args(argv)
    with friendly_errors():
        run = start_run(load_config(options.conf, options.set), "replay")
        run.stage("replay", lambda run: execute(run, options.source, options.rule))


if __name__ == "__main__":
    main()
