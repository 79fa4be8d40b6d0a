"""The whole chain in one session: raw sales to forecasts and stock decisions.

spark-submit --py-files dist/forecasting.zip jobs/run.py --conf conf/prod.yml
"""

import argparse
import shlex
from collections.abc import Sequence

from pyspark.sql import functions as F
from rich.table import Table

from forecasting.config import load_config
from forecasting.contracts import TABLES
from forecasting.evaluation.metrics import ALL
from forecasting.lake import rows
from forecasting.runtime import Figures, Run, add_options, friendly_errors, start_run
from jobs import aggregate, backtest, features, ingest, inventory, reconcile, report, score, train

STAGES = {
    "ingest": ingest.execute,
    "aggregate": aggregate.execute,
    "features": features.execute,
    "train": train.execute,
    "backtest": backtest.execute,
    "score": score.execute,
    "reconcile": reconcile.execute,
    "inventory": inventory.execute,
    "report": report.execute,
}
SHOWN_METRICS = ("wql", "mse", "rmse")


def run_stages(run: Run) -> dict[str, Figures]:
    """Every stage in order; what each reports, by its name."""
    return {name: run.stage(name, execute) for name, execute in STAGES.items()}


def summary(run: Run, figures: dict[str, Figures]) -> list[Table]:
    """What the run did, how good it is, what it cost, and where everything lies."""
    return [_result(run, figures), _accuracy(run), _cost(run), _places(run, figures)]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the whole chain, from raw sales to forecasts and stock decisions."""
    parser = argparse.ArgumentParser(prog="forecasting run", description=main.__doc__)
    add_options(parser)
    options = parser.parse_args(argv)
    with friendly_errors():
        run = start_run(load_config(options.conf, options.set), "run")
        figures = run_stages(run)
        for table in summary(run, figures):
            run.progress.console.print("", table)


def _result(run: Run, figures: dict[str, Figures]) -> Table:
    plan = run.lake.read("inventory_plan").where(F.col("run_id") == run.id)
    orders = plan.agg(
        F.count_if(F.col("order_quantity") > 0).alias("orders"), F.sum("order_quantity").alias("units")
    ).first()
    table = _table("Result", "", ("value", "right"))
    table.add_row("rows read", f"{figures['ingest']['rows']:,}")
    table.add_row("rows quarantined", f"{figures['ingest']['quarantined']:,}")
    table.add_row("series", f"{figures['features']['series']:,}")
    table.add_row("rows of demand", f"{figures['aggregate']['rows']:,}")
    table.add_row("forecasts written", f"{run.lake.read('forecasts').where(F.col('run_id') == run.id).count():,}")
    table.add_row("orders proposed", f"{orders['orders']:,} ({orders['units'] or 0:,.0f} units)")
    return table


def _accuracy(run: Run) -> Table:
    """Metrics of every model, and their change against the seasonal-naive floor."""
    metrics = run.lake.read("backtest_metrics").where(
        (F.col("run_id") == run.id) & (F.col("segment") == ALL) & F.col("metric").isin(*SHOWN_METRICS)
    )
    means = metrics.groupBy("model", "metric").agg(F.avg("value").alias("value"))  # over origins
    found = {(row["model"], row["metric"]): row["value"] for row in rows(means)}
    table = _table(
        "Accuracy over held-out periods, and change against seasonal naive (lower is better)",
        "model",
        *((metric.upper(), "right") for metric in SHOWN_METRICS),
    )
    for model in run.config.backtest.models:
        cells = []
        for metric in SHOWN_METRICS:
            value, floor = found.get((model, metric)), found.get(("seasonal_naive", metric))
            change = f"  {value / floor - 1:+6.1%}" if value is not None and floor else ""
            cells.append("-" if value is None else f"{value:.4g}{change}")
        table.add_row(model, *cells)
    return table


def _cost(run: Run) -> Table:
    mine = run.lake.read("run_stages").where(F.col("run_id") == run.id).orderBy("finished_at")
    noted = {row["stage"]: row for row in rows(mine)}  # of a stage that ran twice, the last one
    table = _table("Cost", "stage", ("seconds", "right"), ("peak memory, GiB", "right"))
    for name in STAGES:
        table.add_row(name, f"{noted[name]['seconds']:,.1f}", f"{noted[name]['peak_memory_gib']:.2f}")
    seconds = sum(noted[name]["seconds"] for name in STAGES)
    peak = max(noted[name]["peak_memory_gib"] for name in STAGES)
    table.add_section()
    table.add_row("all", f"{seconds:,.1f}", f"{peak:.2f}")
    return table


def _places(run: Run, figures: dict[str, Figures]) -> Table:
    table = _table("Where everything lies", "")
    table.add_column("place", overflow="fold")
    table.add_row("tables", ", ".join(filter(run.lake.exists, TABLES)))
    table.add_row("in the lake", run.lake.folder or f"{run.config.lake.catalog}.{run.config.lake.schema_}")
    table.add_row("model", f"{run.config.lake.models}/{figures['train']['model_version']}")
    table.add_row("report", figures["report"]["report"])
    usual, lake = load_config().lake, run.config.lake
    elsewhere = {"lake.path": (lake.path, usual.path), "lake.schema": (lake.schema_, usual.schema_)}
    options = [f"--set={key}={value}" for key, (value, default) in elsewhere.items() if value != default]
    query = "SELECT * FROM inventory_plan ORDER BY order_quantity DESC"
    table.add_row("query them", shlex.join(["forecasting", "sql", *options, query]))
    return table


def _table(title: str, first: str, *columns: tuple[str, str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first)
    for name, justify in columns:
        table.add_column(name, justify=justify)
    return table


if __name__ == "__main__":
    main()
