"""Train the global Transformer on the sequences, with Horovod over Spark's tasks.

spark-submit --py-files dist/forecasting.zip jobs/train.py --conf conf/prod.yml
"""

from pyspark.sql import functions as F

from forecasting.origins import training_ends
from forecasting.runtime import Figures, Run, entry_point
from forecasting.scoring.shared import shared_rows
from forecasting.training.train import train


def execute(run: Run) -> Figures:
    """Train the model of this data and configuration, one for each end of training; go on from a checkpoint if there is one."""
    sequences, shared = run.lake.read("sequences"), shared_rows(run.lake)
    data = sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("last")).first()
    for until in training_ends(data["last"], run.config):
        result = train(sequences, shared, run.config, data["version"], until, run.progress)
    return {name: result[name] for name in ("model_version", "began", "steps", "validation_wql", "seconds")}


main = entry_point("train", execute)

if __name__ == "__main__":
    main()
