"""The training loop of one rank. It knows batches, a ring and a folder for checkpoints, and no cluster."""

from __future__ import annotations

import io
import json
import math
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf
from keras import optimizers

from forecasting.config import TrainingConfig
from forecasting.errors import TrainingError
from forecasting.models import artifact
from forecasting.models.loss import pinball, training_loss
from forecasting.training.ring import Ring
from forecasting.training.shard import Batch, Shard

REFERENCE_BATCH = 256  # effective batch at which training.learning_rate holds
TALK_EVERY = 10  # steps between two reports and looks at the clock
MOST_UNUSABLE = 10  # steps in a row whose gradients are no numbers, after which training stops


@dataclass
class State:
    """Where training stands; all of it but `left`, whether ranks have left before the end, goes into a checkpoint."""

    step: int = 0
    best: float = math.inf
    best_weights: list[np.ndarray] = field(default_factory=list)
    history: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    left: bool = False


@dataclass(frozen=True)
class Checkpoints:
    """Files `step-<n>.npz` in a folder; rank 0 writes them whole or not at all and keeps the last two."""

    folder: str

    def save(self, state: State, variables: list) -> None:
        """Writes model and optimiser variables and the state."""
        buffer = io.BytesIO()
        arrays = {f"v{i:04d}": np.asarray(v) for i, v in enumerate(variables)}
        arrays |= {f"b{i:04d}": w for i, w in enumerate(state.best_weights)}
        told = {"step": state.step, "best": state.best, "history": state.history, "seconds": state.seconds}
        np.savez(buffer, **arrays, told=np.frombuffer(json.dumps(told).encode(), np.uint8))
        artifact.write_bytes(f"{self.folder}/step-{state.step:07d}.npz", buffer.getvalue())
        done = f"step-{state.step:07d}.npz"
        kept = [name for name in self._names() if name <= done][-2:]
        for name in self._names():
            if name not in kept:  # older, or newer and not to be read, or training would have gone on from it
                artifact.delete(f"{self.folder}/{name}")

    def load(self, variables: list, report: Callable[[dict], None]) -> State | None:
        """Fills the variables from the newest whole checkpoint; None if there is none. One that is not whole is reported."""
        for name in reversed(self._names()):
            try:
                with np.load(io.BytesIO(artifact.read_bytes(f"{self.folder}/{name}"))) as arrays:
                    told = json.loads(arrays["told"].tobytes().decode())
                    values = [arrays[f"v{i:04d}"] for i in range(len(variables))]
                    best = [arrays[n] for n in sorted(arrays.files) if n.startswith("b")]
            except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
                report({"unreadable": name})  # cut short by a crash of the storage: the one before it is whole
                continue
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            return State(best_weights=best, **told)
        return None

    def _names(self) -> list[str]:
        return [name for name in artifact.list_files(self.folder) if name.startswith("step-") and name.endswith(".npz")]


def fit(
    model,
    shard: Shard,
    config: TrainingConfig,
    ring: Ring,
    checkpoints: Checkpoints,
    report: Callable[[dict], None],
    asked_to_leave: Callable[[], bool] | None = None,
    before_step: Callable[[], None] = lambda: None,
) -> State:
    """Trains until the epochs or the minutes are over; `State.best_weights` are those of the best validation.

    All ranks take the same steps: the step count follows from the total of series, and whether time is up is agreed on. So is whether
    they leave, which they do at a checkpoint if rank 0 is `asked_to_leave`.

    Raises:
        TrainingError: a rank has no series, or the loss is not a number.
    """
    rows, most = ring.sum([shard.rows, 1.0 if shard.rows else 0.0])
    if most < ring.size:
        raise TrainingError(
            f"Training on {ring.size} ranks: expected at least one series on each, came {int(rows)} series in all. "
            "Use fewer training.ranks."
        )
    trainer = Trainer(model, shard, config, ring, int(rows))
    state = trainer.resume(checkpoints, report)
    if state.step:
        report({"resumed": state.step, "steps": trainer.steps})
    started, before, earlier = time.monotonic() - state.seconds, state.step, state.seconds
    spent = Spent()
    saved = state.seconds

    def save() -> None:
        nonlocal saved
        saved = state.seconds
        if ring.rank == 0:
            try:
                checkpoints.save(state, trainer.variables)
            except OSError as error:  # the one before is whole; a full disk may have room again the next time
                report({"unsaved": f"checkpoint of step {state.step}: {error}"})

    while state.step < trainer.steps:
        before_step()
        trainer.train(state.step, spent)
        state.step += 1
        state.seconds = time.monotonic() - started
        last = state.step == trainer.steps
        due = state.step % config.validate_every == 0
        if state.step % TALK_EVERY == 0 or due or last:
            late = state.seconds > 60 * config.max_minutes
            leave = asked_to_leave is not None and asked_to_leave()
            loss, late, leave = ring.sum([trainer.loss, float(late), float(leave)])
            if trainer.unusable >= MOST_UNUSABLE:  # the same on all ranks, as averaged gradients are
                raise TrainingError(
                    f"Training step {state.step}: expected gradients that are numbers, came {trainer.unusable} steps in a row whose "
                    "gradients are none. Start again to go on from the last checkpoint; if it comes back, lower "
                    "training.learning_rate."
                )
            last = last or late > 0
            report(
                {"step": state.step, "steps": trainer.steps, "loss": loss, "seconds": state.seconds}
                | {"left_out": trainer.left_out}
                | spent.shares(state.seconds - earlier, (state.step - before) * config.batch_size, trainer.origins)
            )
            if not last:
                ring.regroup(save)
            if leave and not last:
                save()
                state.left = True
                return state
        if due or last:
            trainer.validate(state, report)
        # Rank 0 alone looks at the clock, as it alone saves.
        if due or last or (config.checkpoint_minutes and state.seconds - saved > 60 * config.checkpoint_minutes):
            save()
        if last:
            break
    # Rank 0 alone reads checkpoints, and so alone knows whether one of the last step was there; all validate or none does.
    if ring.sum([float(ring.rank == 0 and not state.best_weights)])[0]:
        trainer.validate(state, report)
    if ring.sum([float(ring.rank == 0 and not state.best_weights)])[0]:
        raise TrainingError(
            "Training: expected a validation WQL that is a number, came none. Look for values that are no numbers in the table "
            "sequences."
        )
    return state


def total_steps(series: int, config: TrainingConfig) -> int:
    """Steps of all epochs, each of which sees every series about once."""
    return max(1, math.ceil(series / config.batch_size)) * config.epochs


@dataclass
class Spent:
    """Seconds of this start that a rank has waited for input, and that it and the others took to average gradients."""

    waiting: float = 0.0
    averaging: float = 0.0

    def shares(self, seconds: float, series: int, origins: int) -> dict[str, float]:
        """What became of so many seconds, in which all ranks together learnt from so many series."""
        seconds = max(seconds, 1e-9)
        rates = {"series_per_second": series / seconds, "origins_per_second": series * origins / seconds}
        return rates | {"waiting": self.waiting / seconds, "averaging": self.averaging / seconds}


class Ahead:
    """What each step needs, made in another thread while the step before it runs."""

    def __init__(self, make: Callable[[int], tuple], steps: int) -> None:
        self._make, self._steps, self._thread = make, steps, ThreadPoolExecutor(1)
        self._coming: tuple[int, Future] | None = None

    def of(self, step: int) -> tuple:
        """What `make` gives for a step; that of the next one, if there is one, is begun."""
        expected = self._coming is not None and self._coming[0] == step
        made = self._coming[1].result() if expected else self._make(step)
        if step + 1 < self._steps:
            self._coming = step + 1, self._thread.submit(self._make, step + 1)
        return made


class Trainer:
    """The compiled steps of one rank."""

    def __init__(self, model, shard: Shard, config: TrainingConfig, ring: Ring, series: int) -> None:
        self.model, self.shard, self.config, self.ring = model, shard, config, ring
        self.steps = steps = total_steps(series, config)
        # Of a batch that ranks cannot share evenly some take a series more, which weighs as much as any other.
        begin, end = (config.batch_size * rank // ring.size for rank in (ring.rank, ring.rank + 1))
        self.batch_size, self.weight = end - begin, (end - begin) * ring.size / config.batch_size
        self.origins = min(config.origins_per_series, shard.spec.patches)
        self._loss = tf.constant(0.0)
        # A variable of 32-bit integers would lie on the host, where a step that XLA compiles for a GPU cannot reach it.
        self._unusable, self._left_out = (tf.Variable(0, trainable=False, dtype=tf.int64) for _ in range(2))
        share = math.ceil(config.validation_share * series)
        count = max(1, min(share, config.validation_series))
        shard.hold_out(count, config.seed, begin=series * ring.rank // ring.size, series=series)
        warm_up = max(1, int(config.warmup_share * steps))
        peak = config.learning_rate * math.sqrt(config.batch_size / REFERENCE_BATCH)
        schedule = optimizers.schedules.CosineDecay(
            peak / 100, max(1, steps - warm_up), alpha=0.01, warmup_target=peak, warmup_steps=warm_up
        )
        self.optimizer = optimizers.AdamW(schedule, weight_decay=config.weight_decay)
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "embeddings"])
        self.optimizer.build(model.trainable_variables)
        self.averages = [keras.Variable(weight, trainable=False) for weight in model.weights]
        self.variables = [*model.weights, *self.averages, *self.optimizer.variables]
        self._input = Ahead(self._batch, steps)
        self._levels = tf.constant(shard.spec.quantiles, tf.float32)
        # Nothing in them asks what a tensor holds: a start need not wait until their source is rewritten in case it did.
        self._gradients = tf.function(self._loss_and_gradients, autograph=False, jit_compile=config.xla)
        average = tf.function(ring.average, autograph=False)
        self._average = average if ring.size > 1 else ring.average  # alone it gives back what it gets
        self._apply = tf.function(self._apply_gradients, autograph=False, jit_compile=config.xla)
        self._score = tf.function(self._validation_sums, autograph=False)

    def resume(self, checkpoints: Checkpoints, report: Callable[[dict], None]) -> State:
        """Rank 0 reads the newest checkpoint, if any; then all ranks hold its weights, optimiser and place."""
        state = (checkpoints.load(self.variables, report) if self.ring.rank == 0 else None) or State()
        self.ring.broadcast(self.variables)
        step, seconds = self.ring.sum(
            [state.step if self.ring.rank == 0 else 0, state.seconds if self.ring.rank == 0 else 0]
        )
        state.step, state.seconds = int(step), float(seconds)
        return state

    def train(self, step: int, spent: Spent) -> None:
        """One step; one whose gradients are no numbers is left out. Nothing here waits for a GPU."""
        began = time.monotonic()
        batch = self._input.of(step)
        spent.waiting += time.monotonic() - began
        seed = tf.constant([self.config.seed + self.ring.rank, 1_000 * step], tf.int32)
        self._loss, gradients = self._gradients(*batch, seed)
        began = time.monotonic()
        averaged = self._average(gradients)
        spent.averaging += time.monotonic() - began
        share = min(self.config.averaging, (1.0 + step) / (10.0 + step))  # early weights are soon forgotten
        self._apply(averaged, tf.constant(share, tf.float32))

    @property
    def loss(self) -> float:
        """This rank's part of the mean loss of the last step; 0 if it is no number."""
        loss = float(self._loss) / self.ring.size
        return loss if math.isfinite(loss) else 0.0

    @property
    def unusable(self) -> int:
        """Steps in a row, up to the last one, that were left out."""
        return int(self._unusable)

    @property
    def left_out(self) -> int:
        """Steps that were left out since this start."""
        return int(self._left_out)

    def validate(self, state: State, report: Callable[[dict], None]) -> None:
        """WQL over the validation window by the averaged weights; keeps them if it is the best so far."""
        own = self.model.get_weights()
        self.model.set_weights([average.numpy() for average in self.averages])
        chosen, sums = self.shard.validation, np.zeros(2)
        count = len(chosen)
        for rows in np.array_split(chosen, math.ceil(count / 512)) if count else ():
            padded = np.resize(rows, min(count, 512))  # one shape for all batches; repeats count nothing
            batch = self.shard.validation_batch(padded)
            batch.counts[len(rows) :] = 0.0
            sums += np.array([float(x) for x in self._score(*tensors(batch))])
        loss, units = self.ring.sum(sums)
        wql = 2.0 * loss / max(units, 1e-9) / len(self.shard.spec.quantiles)
        state.history.append({"step": state.step, "wql": wql, "seconds": state.seconds})
        if wql < state.best:
            state.best, state.best_weights = wql, [np.asarray(w) for w in self.model.get_weights()]
        report(
            {
                "step": state.step,
                "steps": self.steps,
                "validated": state.step,
                "validation_wql": wql,
                "seconds": state.seconds,
            }
        )
        self.model.set_weights(own)

    def _loss_and_gradients(self, inputs, origins, actual, counts, censored, seed):
        with tf.GradientTape() as tape:
            said = self.model.demand(inputs, origins, seed)
            head, power = self.model.head, self.model.spec.mean_power
            losses = [training_loss(actual, counts, censored, demand, head, power) for demand in said]
            loss = self.weight * tf.add_n(losses) / len(losses)
        variables = [v.value for v in self.model.trainable_variables]
        return loss, [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]

    def _batch(self, step: int) -> tuple:
        """Tensors of a step, the same whenever they are made."""
        rows = self.shard.training_rows(step, self.batch_size, self.config.seed + 1000 * self.ring.rank)
        draw = np.random.default_rng([self.config.seed, step])  # the same phase and origins on every rank
        return tensors(self.shard.training_batch(rows, draw, self.config))

    def _apply_gradients(self, averaged, share):
        clipped, norm = tf.clip_by_global_norm(averaged, self.config.clip_norm)
        usable = tf.math.is_finite(norm)
        clipped = [tf.where(usable, gradient, tf.zeros_like(gradient)) for gradient in clipped]
        self.optimizer.apply(clipped, self.model.trainable_variables)
        for average, weight in zip(self.averages, self.model.weights, strict=True):
            average.assign(share * average + (1.0 - share) * weight)
        unusable = tf.cast(~usable, tf.int64)
        self._unusable.assign(unusable * (self._unusable + 1))
        self._left_out.assign_add(unusable)

    def _validation_sums(self, inputs, origins, actual, counts, censored):
        quantiles, _ = self.model(inputs, origins)
        return tf.reduce_sum(counts * pinball(actual, quantiles, self._levels)), tf.reduce_sum(counts * actual)


def tensors(batch: Batch) -> tuple:
    """A batch as the compiled steps take it."""
    inputs = {name: tf.constant(value) for name, value in batch.inputs.items()}
    return inputs, *(tf.constant(x) for x in (batch.origins, batch.actual, batch.counts, batch.censored))
