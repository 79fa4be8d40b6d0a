"""The lake's tables and views for other programs, over JDBC or ODBC, until it is stopped.

spark-submit --py-files dist/forecasting.zip jobs/serve.py --conf conf/prod.yml --host 0.0.0.0
"""

import argparse
import signal
from collections.abc import Sequence
from threading import Event

from forecasting.config import load_config
from forecasting.errors import ArtifactError
from forecasting.runtime import add_options, friendly_errors, start_run
from forecasting.scoring.function import register_forecast
from forecasting.sqlserver import serving
from forecasting.sqlshell import use_lake


def main(argv: Sequence[str] | None = None) -> None:
    """Answer SQL of other programs (JDBC, ODBC: HiveServer2) over the lake's tables and views, until it is stopped."""
    parser = argparse.ArgumentParser(prog="forecasting serve", description=main.__doc__)
    add_options(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; default: this machine's programs alone"
    )
    parser.add_argument("--port", type=int, default=10000, help="port; default: 10000")
    options = parser.parse_args(argv)
    with friendly_errors():
        run = start_run(load_config(options.conf, options.set), "serve")
        use_lake(run.lake)
        if run.lake.exists("sequences"):
            try:
                register_forecast(run.lake)
            except ArtifactError:
                run.progress.say("without the function forecast: the model has not been trained")
        stop = Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        with serving(run.spark, options.host, options.port):
            run.progress.say(f"jdbc:hive2://{options.host}:{options.port}/{run.config.lake.schema_}   (Ctrl-C ends it)")
            while not stop.wait(1):
                pass


if __name__ == "__main__":
    main()
