"""report.html: forecasts, accuracy and orders at a glance.

spark-submit --py-files dist/forecasting.zip jobs/report.py --conf conf/prod.yml
"""

from pathlib import Path
from urllib.parse import urlparse

from forecasting.config import Config
from forecasting.errors import ConfigError
from forecasting.report.contents import collect
from forecasting.report.page import FILE, render
from forecasting.runtime import Figures, Run, entry_point

STAGES = ("ingest", "aggregate", "features", "train", "backtest", "score", "inventory")


def execute(run: Run) -> Figures:
    """Write report.html from the newest tables; a part whose job has not run says so."""
    page = render(collect(run.lake, run.config, run.id, run.created_at, STAGES), run.config)
    folder = report_folder(run.config)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    file.write_text(page, encoding="utf-8")
    return {"report": str(file)}


def report_folder(config: Config) -> Path:
    """The folder of report.html: `report.path`, else `_reports` in the lake.

    Raises:
        ConfigError: it is not a folder that this machine can write to as a file system.
    """
    lake = config.lake.path
    place = config.report.path or (f"{lake.rstrip('/')}/_reports" if lake else None)
    if place is None or urlparse(place).scheme:
        raise ConfigError(
            f"report.path: expected a folder of this machine (a mounted volume will do), came {place or 'null'}."
        )
    return Path(place).resolve()


main = entry_point("report", execute)

if __name__ == "__main__":
    main()
