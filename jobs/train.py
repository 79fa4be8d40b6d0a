"""Train the global networks on the sequences, with Horovod over Spark's tasks.

spark-submit --py-files dist/forecasting.zip jobs/train.py --conf conf/prod.yml
"""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.baselines.trees import NAME, TreeTask, train_trees, trees_path, trees_version
from forecasting.models.artifact import exists, write_bytes
from forecasting.models.shared import SharedRows
from forecasting.origins import training_ends
from forecasting.periods import position
from forecasting.runtime import Figures, Run, entry_point
from forecasting.scoring.shared import shared_rows
from forecasting.training.specification import specify
from forecasting.training.tracking import track
from forecasting.training.train import rank_threads, train


def execute(run: Run) -> Figures:
    """Train every model of this data and configuration, one for each end of training; go on from a checkpoint if there is one."""
    lake, config = run.lake, run.config
    sequences, shared = lake.read("sequences"), shared_rows(lake)
    data = sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("last")).first()
    results = {}
    if NAME in config.backtest.models:
        for until in training_ends(data["last"], config):
            _train_trees(run, sequences, shared, data["version"], until)
    for until in training_ends(data["last"], config):
        for name in config.trained_networks:
            own = config.of_network(name)
            if len(config.trained_networks) > 1:
                run.progress.say(f"  {name}, up to {until}")
            results[name] = train(sequences, shared, lake, own, data["version"], until, run.progress)
            if told := track(own, name, results[name]["model_version"]):
                run.progress.say(f"  {told}")
    scoring = results[config.scoring.model]  # of the newest end of training
    return {name: scoring[name] for name in ("model_version", "began", "steps", "validation_wql", "seconds")}


def _train_trees(run: Run, sequences: DataFrame, shared: SharedRows, data_version: str, until: date) -> None:
    """Trains the trees of this data and configuration, unless it is done."""
    config = run.config
    path = trees_path(config, trees_version(config, data_version, until))
    if exists(path) and not config.training.retrain:
        return
    run.progress.say(f"  {NAME}, up to {until}")
    known = sequences.where(F.col("first_period") <= F.lit(until))
    task = TreeTask(
        spec=specify(known, shared, config, until, data_version),
        shared=shared,
        origin=int(position(until, config.series.grain)),
        series=known.count(),
        config=config.trees,
        ranks=config.training.ranks,
        threads=rank_threads(sequences, config),
        seed=config.training.seed,
    )
    write_bytes(path, train_trees(known, task))


main = entry_point("train", execute)

if __name__ == "__main__":
    main()
