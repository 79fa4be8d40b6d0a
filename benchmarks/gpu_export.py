"""XLA programs of a training step and of scoring, for `benchmarks/gpu_run.py` to run on a GPU.

python -m benchmarks.gpu_export --folder DIR --output PROGRAMS --set source.dataset=m5 --set source.path=FOLDER

They are what TensorFlow makes of the project's own functions with `training.xla`: loss and gradients, and quantiles and mean. Beside
them lie the input of a batch, and what this machine's CPU answers, so that the GPU's numbers can be held against them. A machine
with a GPU needs neither Spark nor the project for it. Settings and tables are those of `make bench-accuracy`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.accuracy import configuration
from benchmarks.throughput import step_flops, trainer_of, training_data
from forecasting.models.batches import network_input, to_block
from forecasting.models.build import use_threads
from forecasting.runtime import add_options, friendly_errors, start_run

BASE = 64  # series of the batch that is written; larger ones repeat it
TRAIN_SIZES = (64, 1_024, 4_096)
SCORE_SIZES = (64, 1_024, 30_464)
SHARED = ("calendar", "reach")  # of the input, what is not told per series


def export(
    function: Callable, arguments: tuple, sizes: Sequence[int], name: str, output: Path, weights: Sequence
) -> None:
    """Writes the program of a function for each number of series, a batch of its arguments, and what it answers.

    Args:
        arguments: of a batch of BASE series, arrays whose first axis is series but for those of SHARED.
    """
    import tensorflow as tf

    compiled = tf.function(function, jit_compile=True)
    for size in sizes:
        given = tf.nest.map_structure(tf.constant, grown(arguments, size))
        program = compiled.experimental_get_compiler_ir(*given)(stage="hlo_serialized")
        (output / f"{name}_{size}.hlo").write_bytes(program)
        if size == BASE:
            captured = compiled.get_concrete_function(*given).captured_inputs
            held = [next((w.numpy() for w in weights if w.value.handle is c), None) for c in captured]
            values = [np.asarray(c) if h is None else h for c, h in zip(captured, held, strict=True)]
            answers = tf.nest.flatten(compiled(*given))
            kinds = {"input": tf.nest.flatten(arguments), "weight": values, "answer": answers}
            stored = {f"{kind}_{n:03d}": np.asarray(x) for kind, of in kinds.items() for n, x in enumerate(of)}
            np.savez_compressed(output / f"{name}.npz", **stored)


def grown(arguments: tuple, size: int) -> tuple:
    """Arguments of BASE series repeated to `size`; what is not told per series stays."""

    def repeated(x: np.ndarray, name: str = "") -> np.ndarray:
        own = name not in SHARED and x.ndim and x.shape[0] == BASE
        return np.concatenate([x] * (size // BASE)) if own else x

    return tuple({n: repeated(x, n) for n, x in a.items()} if isinstance(a, dict) else repeated(a) for a in arguments)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the XLA programs of training and scoring.")
    parser.add_argument("--folder", required=True, help="that of bench-accuracy; its tables are used if they are there")
    parser.add_argument("--output", required=True, help="folder for the programs")
    add_options(parser)
    options = parser.parse_args(argv)
    with friendly_errors():
        run = start_run(configuration(Path(options.folder), options.conf, options.set), "gpu-export")
        data, output = training_data(run), Path(options.output)
        spec, shared, origin, series = data
        use_threads(2)
        output.mkdir(parents=True, exist_ok=True)
        training = run.config.training.model_copy(update={"batch_size": BASE})
        with trainer_of(*data, training) as trainer:
            model, shard = trainer.model, trainer.shard
            rows = shard.training_rows(0, BASE, training.seed)
            batch = shard.training_batch(rows, np.random.default_rng(training.seed), training)
            learnt = (batch.inputs, batch.origins, batch.actual, batch.counts, batch.censored, np.int32([0, 0]))
            export(trainer._loss_and_gradients, learnt, TRAIN_SIZES, "train", output, model.weights)
        of_spec = shared.of(spec.inputs)
        block = to_block(series.to_batches(max_chunksize=BASE)[0], spec, of_spec, origin, spec.context)
        last = np.array([spec.patches - 1], np.int32)
        told = network_input(block, np.arange(BASE), 0, last, spec, of_spec, origin - spec.context + 1)
        export(model.call, (told, last), SCORE_SIZES, "score", output, model.weights)
        origins = len(batch.origins)
        flops = step_flops(model, BASE, origins) / BASE
        about = {"base": BASE, "origins": origins, "train_flops": flops, "precision": spec.precision}
        (output / "about.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main()
