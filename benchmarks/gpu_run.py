"""Runs what `benchmarks/gpu_export.py` wrote, on the accelerator that JAX finds, and times it. Needs NumPy and JAX alone.

python benchmarks/gpu_run.py PROGRAMS [PROGRAMS ...]

The first size of each program is held against the answers of the CPU that wrote it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.lib import _jax, xla_client  # JAX compiles programs of its own alone by its public functions

SECONDS, REPEATS = 1.0, 3  # of each measurement, and how many of them


def compiled(path: Path, device) -> Callable[[Sequence], list]:
    """An XLA program that answers lists of arrays on the device."""
    program = _jax.mlir.hlo_to_stablehlo(path.read_bytes())
    options = xla_client.CompileOptions()
    loaded = device.client.compile_and_load(program, xla_client.DeviceList((device,)), options)
    return lambda given: loaded.execute_sharded(given).disassemble_into_single_device_arrays()


def timed(call: Callable[[], object]) -> list[float]:
    """Seconds of a call, the mean of each of some repeats."""
    for _ in range(3):
        call()
    found = []
    for _ in range(REPEATS):
        began, calls = time.monotonic(), 0
        while time.monotonic() - began < SECONDS:
            call()
            calls += 1
        found.append((time.monotonic() - began) / calls)
    return found


def matmul_peak(dtype) -> float:
    """TFLOP/s of the product of two square matrices."""
    one = jax.random.normal(jax.random.key(0), (8_192, 8_192)).astype(dtype)
    product = jax.jit(lambda x: x @ x)
    return 2 * 8_192**3 / min(timed(lambda: product(one).block_until_ready())) / 1e12


def held_against(answers: Sequence[np.ndarray], expected: Sequence[np.ndarray], kind: str) -> str:
    """How far answers are from the CPU's."""
    apart = [float(np.abs(a - b).max() / (np.abs(b).max() + 1e-9)) for a, b in zip(answers, expected, strict=True)]
    if kind == "score":
        return f"{(answers[0] != expected[0]).mean():.4%} of quantiles differ, means by {apart[1]:.1e} of the largest"
    return (
        f"loss {float(answers[0]):.6f} for {float(expected[0]):.6f}, gradients by {max(apart[1:]):.1e} of the largest"
    )


def measure(folder: Path, kind: str, device) -> None:
    """Prints the figures of one kind of program."""
    about, stored = json.loads((folder / "about.json").read_text()), np.load(folder / f"{kind}.npz")
    of = {
        part: [stored[n] for n in sorted(stored.files) if n.startswith(part)] for part in ("input", "weight", "answer")
    }
    base, unit = about["base"], ("origins", about["origins"]) if kind == "train" else ("series", 1)
    sizes = {int(re.findall(r"_(\d+)\.hlo", path.name)[0]): path for path in folder.glob(f"{kind}_*.hlo")}
    for size, path in sorted(sizes.items()):
        began = time.monotonic()
        program = compiled(path, device)
        compiling = time.monotonic() - began
        grown = [np.concatenate([x] * (size // base)) if x.ndim and x.shape[0] == base else x for x in of["input"]]
        given = [jax.device_put(x, device) for x in (*grown, *of["weight"]) if x.size]  # XLA leaves out empty arrays
        if size == base:
            answers = [np.asarray(answer[0]) for answer in program(given)]
            print(f"figure {kind}_{about['precision']}_numbers {held_against(answers, of['answer'], kind)}")
        seconds = timed(lambda program=program, given=given: program(given)[0][0].block_until_ready())
        name = f"{kind}_{about['precision']}_{size}"
        rates = f"{unit[1] * size / max(seconds):,.0f} to {unit[1] * size / min(seconds):,.0f} {unit[0]}/s"
        flops = f", {about['train_flops'] * size / min(seconds) / 1e12:.1f} TFLOP/s" if kind == "train" else ""
        print(f"figure {name} {1e3 * min(seconds):.2f} ms, {rates}{flops}; compiled in {compiling:.0f} s", flush=True)


def main(folders: Sequence[str]) -> None:
    device = jax.devices()[0]
    print(f"figure device {device.device_kind}, JAX {jax.__version__}")
    for dtype in (jnp.float32, jnp.bfloat16):
        print(f"figure matmul_{dtype.__name__} {matmul_peak(dtype):.0f} TFLOP/s", flush=True)
    for folder in folders:
        for kind in ("score", "train"):
            measure(Path(folder), kind, device)


if __name__ == "__main__":
    main(sys.argv[1:])
