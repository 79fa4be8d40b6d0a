"""What a training of a million series would take on many GPUs, by the model of docs/scaling.md.

python -m benchmarks.scaling_model                       # the table of docs/scaling.md
python -m benchmarks.scaling_model --input 40000         # with other measurements or another cluster
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

SERIES, EPOCHS = 1_000_000, 4
GPUS = (1, 16, 64, 256)
BATCHES = (4_096, 16_384, 65_536)  # series of a step, over all ranks


@dataclass(frozen=True)
class Costs:
    """What one step costs; see docs/scaling.md for where each number is from.

    fixed: ms of a step whatever its batch; series: ms a series on the GPU; input: series a second that a rank's host makes; megabytes: of
    gradients; bandwidth: GB/s between two nodes; latency: ms of a message between them; look: ms until all ranks have seen that all are
    ready, beside the messages for that.
    """

    fixed: float
    series: float
    input: float
    megabytes: float
    bandwidth: float
    latency: float
    look: float

    def step(self, batch: int, ranks: int) -> dict[str, float]:
        """Milliseconds of the parts of a step: the GPU's work, the input beyond it, averaging."""
        own = batch / ranks
        gpu = self.fixed + self.series * own
        waiting = max(0.0, 1000 * own / self.input - gpu)
        if ranks == 1:
            return {"gpu": gpu, "input": waiting, "averaging": 0.0}
        hops = math.ceil(math.log2(ranks))
        agreed = self.look + 2 * hops * self.latency
        averaged = 2 * (ranks - 1) / ranks * self.megabytes / self.bandwidth + 2 * hops * self.latency
        return {"gpu": gpu, "input": waiting, "averaging": agreed + averaged}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value, meaning in (
        ("fixed", 7.3, "ms of a step whatever its batch"),
        ("series", 0.0064, "ms a series"),
        ("input", 4_400, "series/s that a rank's host makes"),
        ("megabytes", 1.4, "of gradients"),
        ("bandwidth", 12.5, "GB/s between two nodes"),
        ("latency", 0.02, "ms of a message"),
        ("look", 1.0, "ms between two looks of Horovod"),
    ):
        parser.add_argument(f"--{name}", type=float, default=value, help=f"{meaning}; default {value}")
    costs = Costs(**vars(parser.parse_args(argv)))
    print(
        "| series a step | GPUs | GPU, ms | waits for input, ms | averaging, ms | training of 4 epochs, s | efficiency |"
    )
    print("|---|---|---|---|---|---|---|")
    for batch in BATCHES:
        steps = EPOCHS * math.ceil(SERIES / batch)
        alone = sum(costs.step(batch, 1).values())
        for ranks in GPUS:
            parts = costs.step(batch, ranks)
            whole = sum(parts.values())
            told = " | ".join(f"{value:.2f}" for value in parts.values())
            print(f"| {batch:,} | {ranks} | {told} | {steps * whole / 1000:,.1f} | {alone / whole / ranks:.2f} |")


if __name__ == "__main__":
    main()
