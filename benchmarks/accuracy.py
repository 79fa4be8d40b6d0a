"""Accuracy on a dataset: every model on the same held-out windows in one run, with the time that each stage took.

make bench-accuracy ARGS="--set source.dataset=m5 --set source.path=FOLDER"
make bench-accuracy                    # 150 items of The Complete Journey
... --peers NHITS TFT PatchTST --peer-seconds 600   # beside models of neuralforecast, after scripts/setup_peers.sh

Settings of a dataset beyond its own YAML lie in benchmarks/accuracy_settings; those given with --conf and --set win.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import date
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.table import Table

from benchmarks.cut import cut_sales
from benchmarks.pipeline import SMALL
from forecasting.config import Config, load_config
from forecasting.evaluation.backtest import beside_actuals
from forecasting.evaluation.comparison import compare_models
from forecasting.evaluation.metrics import ALL
from forecasting.lake import rows, with_lineage
from forecasting.origins import backtest_origins
from forecasting.periods import shift
from forecasting.runtime import Run, add_options, friendly_errors, start_run
from forecasting.views import PERIOD_AT
from jobs.backtest import measure
from jobs.run import STAGES

NEEDED = ("ingest", "aggregate", "features", "train", "backtest")
PEERS_ALONE = "peers"  # beside the models of an earlier run
SHOWN = ("wql", "wape", "rmse", "rmsse", "wrmsse", "bias", "revision")
CALIBRATION = ("below", "at_or_below")
PEERS = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
SEPARATOR = "~"  # between item and location in the names of series that peers get
_ARRAYS = ("quantity", "observed", "planned_price", "promotion")


def configuration(folder: Path, conf_files: Sequence[str], settings: Sequence[str]) -> Config:
    """The settings of the benchmark, with tables in `folder` alone; those given win."""
    own = [f"lake.path={folder / 'lake'}", "lake.schema=accuracy"]
    dataset = load_config(conf_files, settings).source.dataset
    beyond = Path(__file__).parent / "accuracy_settings" / f"{Path(dataset).stem}.yml"
    files = [*([str(beyond)] if beyond.exists() else []), *conf_files]
    if not any(setting.startswith("source.") for setting in settings):
        own += [*SMALL, f"source.path={cut_sales(folder / 'source', 150)}"]
    return load_config(files, [*own, *settings])


def origins_of(run: Run) -> list[date]:
    """Forecast origins of the backtest."""
    last = run.lake.read("sequences").agg(F.max("last_period").alias("last")).first()["last"]
    return backtest_origins(last, run.config)


def add_peers(run: Run, folder: Path, models: Sequence[str], seconds: float) -> dict[str, float]:
    """Trains models of neuralforecast on the same series up to the same day and adds their forecasts from the same origins to
    `backtest_forecasts`; what each reports of itself, by name."""
    lake, config = run.lake, run.config
    sequences, origins = lake.read("sequences"), origins_of(run)
    version = sequences.agg(F.max("data_version").alias("version")).first()["version"]
    futures = export_series(sequences, lake.read("calendar_features"), origins[-1], config, folder)
    figures: dict[str, float] = {}
    for model in models:
        output = folder / f"{model}.parquet"
        run.progress.say(f"  {model}, {seconds:.0f} s of training")
        several = ["--output", output, "--origins", ",".join(map(str, origins)), "--mean", "quantiles"]
        told = peer_figures(model, folder, config, origins[0], futures, seconds, several)
        figures |= {f"{model.lower()}_{name}": value for name, value in told.items()}
        found = run.spark.read.parquet(str(output))
        series = F.split("unique_id", SEPARATOR)
        found = found.select("*", series[0].alias("item_id"), series[1].alias("location_id"))
        for origin in origins:
            own = found.where(F.col("forecast_origin").cast("date") == F.lit(origin))
            rows_ = beside_actuals(sequences, own, model.lower(), config, origin)
            ahead = F.create_map(
                *(
                    part
                    for n in range(1, config.forecast.horizon + 1)
                    for part in (F.lit(n), F.lit(shift(origin, n, config.series.grain)))
                )
            )
            rows_ = rows_.withColumns({"forecast_origin": F.lit(origin), "target_date": ahead[F.col("horizon")]})
            lineage = run.lineage(data_version=version, model_version=f"neuralforecast {model}")
            replaced = {"forecast_origin": origin, "model": model.lower()}
            lake.write(with_lineage(rows_, **lineage), "backtest_forecasts", replacing=replaced)
    for number, origin in enumerate(origins):
        measure(run, origin, origins[max(0, number - 1)])
    return figures


def peer_figures(
    model: str, folder: Path, config: Config, until: date, futures: Sequence[str], seconds: float, options: Sequence
) -> dict[str, float]:
    """Trains a model of neuralforecast on what `export_series` wrote to `folder`; what it reports of itself, by name.

    Args:
        until: last period of training. futures: names of what is known ahead. options: more of neural_peers.py.
    """
    command = [PEERS, "-m", "benchmarks.neural_peers", "--model", model, "--grain", config.series.grain]
    command += ["--input", folder / "series", "--until", until, "--horizon", config.forecast.horizon]
    command += ["--quantiles", ",".join(map(str, config.forecast.quantiles)), "--seconds", seconds]
    command += ["--static-input", folder / "static", "--static", "department,category,location_group"]
    command += ["--future", ",".join(futures), *options]
    told = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    lines_ = (line.split() for line in told.splitlines() if line.startswith("figure "))
    return {name: float(value) for _, name, value, *_ in lines_}


def export_series(sequences: DataFrame, calendar: DataFrame, last: date, config: Config, folder: Path) -> list[str]:
    """Series in long form for peers, demand up to the last origin alone, and what is known ahead of each day; their attributes
    once a series. The names of what is known ahead."""
    name = F.concat_ws(SEPARATOR, "item_id", "location_id").alias("unique_id")
    days = F.sequence(F.lit(0), F.size("quantity") - 1)
    long = sequences.select(name, "first_period", *_ARRAYS, F.explode(days).alias("at"))
    long = long.withColumn("ds", F.expr(PERIOD_AT[config.series.grain]))
    value = {array: F.coalesce(F.get(array, F.col("at")), F.lit(0.0)) for array in ("planned_price", "promotion")}
    seen = (F.get("observed", F.col("at")) == 1) & (F.col("ds") <= F.lit(last))
    holidays = calendar.where(F.col("calendar") == config.features.calendar)
    holidays = holidays.select(F.col("period_start").alias("ds"), F.least("holidays", F.lit(1)).alias("holiday"))
    rows_ = long.select(
        "unique_id",
        "ds",
        F.when(seen, F.get("quantity", F.col("at"))).cast("float").alias("y"),
        value["planned_price"].cast("float").alias("price"),
        value["promotion"].cast("float").alias("promotion"),
    ).where(F.col("ds") <= F.lit(shift(last, config.forecast.horizon, config.series.grain)))
    rows_ = rows_.join(F.broadcast(holidays), on="ds", how="left").fillna(0, subset=["holiday"])
    rows_.write.mode("overwrite").parquet(str(folder / "series"))
    attributes = ("department", "category", "location_group")
    static = sequences.select(name, *(F.coalesce(each, F.lit("none")).alias(each) for each in attributes))
    static.write.mode("overwrite").parquet(str(folder / "static"))
    given = sequences.agg(F.count("planned_price").alias("price"), F.count("promotion").alias("promotion")).first()
    return [each for each in ("price", "promotion") if given[each]] + ["holiday"]


def metrics_of(run: Run) -> dict[tuple[str, str], list[float]]:
    """Of each model and metric the values of all origins of this run, in order."""
    found = run.lake.read("backtest_metrics").where((F.col("run_id") == run.id) & (F.col("segment") == ALL))
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows(found.orderBy("forecast_origin")):
        values.setdefault((row["model"], row["metric"]), []).append(row["value"])
    return values


def calibration(values: dict[tuple[str, str], list[float]], model: str) -> tuple[float, float]:
    """How far the share of periods below a quantile is above its level, and how far that at or below it is under it, at the
    level where each is worst; none is above 0 where a model of counts is calibrated."""
    worst = []
    for kind, sign in zip(CALIBRATION, (1, -1), strict=True):
        named = {metric: v for (m, metric), v in values.items() if m == model and metric.startswith(f"{kind}_0.")}
        worst.append(
            max(sign * (sum(v) / len(v) - float(metric.removeprefix(f"{kind}_"))) for metric, v in named.items())
        )
    return worst[0], worst[1]


def lines(run: Run, models: Sequence[str], seconds: dict[str, float]) -> list[str]:
    """`figure NAME VALUE UNIT`, one a line: means over origins, and what each origin gave."""
    values, found = metrics_of(run), []
    for model in models:
        for metric in SHOWN:
            if told := [v for v in values.get((model, metric), ()) if v is not None]:
                each = " ".join(f"{v:.4f}" for v in told)
                found.append(f"figure {model}_{metric} {sum(told) / len(told):.4f} of {len(told)} windows: {each}")
        below, above = calibration(values, model)
        found.append(f"figure {model}_below_excess {below:+.3f} share")
        found.append(f"figure {model}_at_or_below_lack {above:+.3f} share")
    written = run.lake.read("backtest_forecasts").where(F.col("forecast_origin").isin(origins_of(run)))
    for row in compare_models(written, models, run.config.forecast):
        interval = (
            f"[{row['gain_low']:+.4f}, {row['gain_high']:+.4f}] p {row['p_value']:.3g}"
            if row["p_value"] is not None
            else ""
        )
        found.append(f"figure gain_{row['loss']}_against_{row['against']} {row['gain']:+.4f} {interval}")
    found += [f"figure {name} {spent:.1f}" for name, spent in seconds.items()]
    return found


def table(run: Run, models: Sequence[str]) -> Table:
    """Mean of each metric over the windows."""
    values, shown = metrics_of(run), Table(title=f"Accuracy on {run.config.source.dataset}", title_justify="left")
    shown.add_column("model")
    told = [metric for metric in SHOWN if any(name == metric for _, name in values)]
    for metric in told:
        shown.add_column(metric, justify="right")
    for model in models:
        own = [[v for v in values.get((model, metric), ()) if v is not None] for metric in told]
        shown.add_row(model, *(f"{sum(v) / len(v):.4f}" if v else "-" for v in own))
    return shown


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the accuracy of every model.")
    parser.add_argument("--scale", choices=("small",), default="small", help="there is one")
    parser.add_argument("--folder", help="keep the tables there; what an earlier run left is used from --from on")
    parser.add_argument(
        "--from",
        dest="first",
        choices=[*NEEDED, PEERS_ALONE],
        default=NEEDED[0],
        help="first stage to carry out; peers: none, the peers are set beside what an earlier run left",
    )
    parser.add_argument(
        "--peers", nargs="*", default=[], choices=("NHITS", "TFT", "PatchTST"), help="of neuralforecast"
    )
    parser.add_argument("--peer-seconds", type=float, default=600, help="time that each peer trains")
    add_options(parser)
    options = parser.parse_args(argv)
    place = nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory(prefix="bench-accuracy-")
    with friendly_errors(), place as folder:
        run = start_run(configuration(Path(folder), options.conf, options.set), "accuracy")
        first = NEEDED.index(options.first) if options.first != PEERS_ALONE else len(NEEDED)
        for name in NEEDED[first:]:
            run.stage(name, STAGES[name])
        noted = rows(run.lake.read("run_stages").where(F.col("run_id") == run.id).orderBy("finished_at"))
        seconds = {f"{row['stage']}_seconds": row["seconds"] for row in noted}
        if options.peers:
            seconds |= add_peers(run, Path(folder), options.peers, options.peer_seconds)
        models = [*run.config.backtest.models, *(peer.lower() for peer in options.peers)]
        run.progress.console.print("", table(run, models))
        for line in lines(run, models, seconds):
            print(line)


if __name__ == "__main__":
    main()
