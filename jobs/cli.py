"""The console script `forecasting`: every job, the whole chain, and SQL over what they wrote."""

import argparse
import difflib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from pyspark.errors import PySparkException
from rich.console import Console

from forecasting.config import Config, load_config
from forecasting.errors import LakeError
from forecasting.lake import Lake
from forecasting.runtime import add_options, friendly_errors, start_run
from forecasting.scoring.function import calls_forecast, register_forecast
from forecasting.sqlshell import init_sql, result_table, shell_command, shell_environment, use_lake

JOBS = {
    "run": "the whole chain: every job below, in this order, in one session",
    "ingest": "files of the dataset to bronze tables; rows that break the contract to quarantine",
    "aggregate": "sales lines to demand per series and period",
    "features": "demand to model-ready sequences, one row per series",
    "train": "train the forecasting model",
    "backtest": "compare the model with simple forecasts on held-out periods",
    "score": "forecast every series",
    "reconcile": "forecast totals at every level, and make all levels add up",
    "inventory": "safety stock, reorder points and order quantities",
    "report": "report.html: forecasts, accuracy and orders at a glance",
}
COMMANDS = JOBS | {
    "maintain": "delete old origins, compact files, and remove those of earlier versions",
    "replay": "check quarantined rows of a stream again, after the mapping or rules were mended",
    "scenario": "forecast what would sell with other prices, promotions, events or stock",
    "simulate": "what stock policies would have come to, by the forecasts of past origins",
    "serve": "answer SQL of other programs over JDBC or ODBC, until it is stopped",
    "sql": "query the tables: one query, or Spark's SQL shell without one",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Hands over to the command that was asked for."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    options = parser.parse_args(arguments[:1])  # what follows belongs to the command
    if options.command is None:
        parser.print_help()
    elif options.command not in COMMANDS:
        near = difflib.get_close_matches(options.command, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(COMMANDS)}"
        parser.error(f"unknown command {options.command!r}; {hint}")
    elif options.command == "sql":
        sql(arguments[1:])
    else:
        import_module(f"jobs.{options.command}").main(arguments[1:])


def sql(argv: Sequence[str]) -> None:
    """Print the result of a query over the tables; without a query, start Spark's SQL shell with all tables registered."""
    parser = argparse.ArgumentParser(prog="forecasting sql", description=sql.__doc__)
    add_options(parser)
    parser.add_argument(
        "query", nargs="?", help='for example "SELECT * FROM forecasts LIMIT 10"; at most 50 rows are shown'
    )
    options = parser.parse_args(argv)
    with friendly_errors():
        config = load_config(options.conf, options.set)
        if options.query:
            _query(config, options.query)
        else:
            raise SystemExit(_shell(config))


def _query(config: Config, query: str) -> None:
    run = start_run(config, "sql")
    use_lake(run.lake)
    if calls_forecast(query):
        register_forecast(run.lake)
    try:
        table = result_table(run.spark.sql(query))
    except PySparkException as error:
        raise LakeError(
            f"Query: expected SQL over the lake's tables, came: {str(error).strip().splitlines()[0]}"
        ) from error
    Console().print(table)


def _shell(config: Config) -> int:
    with tempfile.TemporaryDirectory(prefix="forecasting-sql-") as folder:
        init_file = Path(folder, "init.sql")
        init_file.write_text(init_sql(Lake(None, config)), encoding="utf-8")
        return subprocess.call(shell_command(config, init_file), env=shell_environment())


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="forecasting",
        usage="forecasting COMMAND [--conf FILE] [--set KEY=VALUE] ...",
        description="Demand forecasts and stock decisions from a sales log.",
        epilog=f"commands:\n{listed}\n\n`forecasting COMMAND --help` shows a command's options; conf/default.yml lists all settings.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of those below")
    return parser


if __name__ == "__main__":
    main()
