"""One global model of gradient-boosted trees (LightGBM, Ke et al. 2017) over all series: a Tweedie booster for the mean, a
quantile booster for each level. The ranks of a Spark barrier stage train each of them together, each on its own series.

Demand is divided by its scale at the origin, and examples weigh as much as the scale, so that one model serves all volumes and
the loss counts units.
"""

from __future__ import annotations

import io
import json
import socket
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import BarrierTaskContext
from pyspark.sql import DataFrame

from forecasting import __version__
from forecasting.baselines.floors import Forecast
from forecasting.baselines.tree_features import CATEGORIES, feature_names, features, scales
from forecasting.config import Config, TreesConfig, fingerprint
from forecasting.errors import ArtifactError, ConfigError
from forecasting.models.artifact import exists, read_bytes
from forecasting.models.batches import Block, sequence_columns, to_block
from forecasting.models.shared import Shared, SharedRows
from forecasting.models.spec import ModelSpec
from forecasting.periods import position

NAME = "lightgbm"
FILE = "trees.zip"
AT_ONCE = 256  # series whose examples are made together
ORIGINS = 6  # drawn for each AT_ONCE series
_MEAN = "mean"


@dataclass(frozen=True)
class TreeTask:
    """All that a rank needs beside its series; travels with the Spark task.

    origin: number of the last period that training may see. series: of all ranks together. threads: cores of a rank.
    """

    spec: ModelSpec
    shared: SharedRows
    origin: int
    series: int
    config: TreesConfig
    ranks: int
    threads: int
    seed: int


def trees_version(config: Config, data_version: str, until: date) -> str:
    """Fingerprint of all that decides the trees: data, the last period that training saw, settings and code version."""
    return fingerprint(
        {
            "data": data_version,
            "until": until.isoformat(),
            "settings": config.fingerprint("series", "features", "forecast", "trees"),
            "shape": (config.model.context, config.model.patch, config.training.seed, config.training.ranks),
            "inputs": sorted(config.model.leave_out),
            "code": __version__,
        }
    )


def trained_trees(config: Config, data_version: str, until: date) -> tuple[bytes, str]:
    """Bytes and version of the trees that this configuration trained on this data up to a period.

    Raises:
        ArtifactError: they have not been trained.
    """
    version = trees_version(config, data_version, until)
    if not exists(path := trees_path(config, version)):
        raise ArtifactError(
            f"Trees {path}: expected to exist for data version {data_version} and these settings, came none. Run the job train first."
        )
    return read_bytes(path), version


def trees_path(config: Config, version: str) -> str:
    """Where the artifact of a version lies."""
    return f"{config.lake.models}/{version}/{FILE}"


def train_trees(sequences: DataFrame, task: TreeTask) -> bytes:
    """The artifact of trees trained on all series.

    Args:
        sequences: gold `sequences` that have begun by the end of training.
    """
    read = sequences.select(*sequence_columns(task.spec.inputs))
    shards = read.repartition(task.ranks, "item_id", "location_id").sortWithinPartitions("item_id", "location_id")
    return _launch(shards, task)


def _launch(shards: DataFrame, task: TreeTask) -> bytes:
    told = shards.mapInArrow(_rank_function(task), "rank int, model binary", barrier=True)
    return bytes({row["rank"]: row["model"] for row in told.collect()}[0])  # one row a rank


def _rank_function(task: TreeTask) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = BarrierTaskContext.get()
        rank = context.partitionId()
        drawn = draw_examples(batches, task, rank)
        boosters = 1 + len(task.spec.quantiles)
        addresses = [json.loads(each) for each in context.allGather(json.dumps(_free_addresses(boosters)))]
        model = fit_trees(*drawn, task, rank, addresses)
        yield pa.RecordBatch.from_pydict({"rank": pa.array([rank], pa.int32()), "model": [model if rank == 0 else b""]})

    return run


def draw_examples(
    batches: Iterator[pa.RecordBatch], task: TreeTask, rank: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Examples of a rank's series: features [N, F], demand over its scale [N], weights [N]; about `rows_per_rank` at most.

    For each AT_ONCE series ORIGINS origins are drawn from as far back as the network's context reaches, and of their days ahead
    as many as keep within the bound.
    """
    spec, shared = task.spec, task.shared.of(task.spec.inputs)
    width = spec.context + spec.horizon
    random = np.random.default_rng([task.seed, rank])
    share = min(1.0, task.config.rows_per_rank * task.ranks / max(1, task.series * ORIGINS * spec.horizon))
    parts = [(np.zeros((0, len(feature_names(spec))), np.float32), np.zeros(0), np.zeros(0))]
    for batch in batches:
        for start in range(0, batch.num_rows, AT_ONCE):
            block = to_block(batch.slice(start, AT_ONCE), spec, shared, task.origin, width)
            origins = np.sort(random.choice(np.arange(spec.horizon, width - 1), ORIGINS, replace=False))
            parts.append(_examples(block, origins, spec, shared, task.origin - width + 1, share, random))
    x, y, weight = (np.concatenate(each) for each in zip(*parts, strict=True))
    return x, y, weight


def _examples(
    block: Block,
    origins: np.ndarray,
    spec: ModelSpec,
    shared: Shared,
    first: int,
    share: float,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    width = block.quantity.shape[1]
    days = origins[:, None] + np.arange(1, spec.horizon + 1)
    inside = days < width
    at = np.minimum(days, width - 1)
    seen = (block.observed[:, at] > 0) & (block.censored[:, at] == 0) & inside
    begun = np.maximum.accumulate(block.observed > 0, axis=1)[:, origins][..., None]
    chosen = seen & begun & (random.random(seen.shape) < share)
    scale = np.broadcast_to(scales(block, origins, spec.patch)[..., None], chosen.shape)[chosen]
    demand = np.maximum(block.quantity[:, at], 0.0)[chosen]
    return features(block, origins, spec, shared, first)[chosen], demand / scale, scale


def fit_trees(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    task: TreeTask,
    rank: int = 0,
    addresses: list[list[str]] | None = None,
) -> bytes:
    """Boosters on the examples of this rank, which the ranks grow together; the artifact.

    Args:
        addresses: of each rank, one free `host:port` for each booster; None for a single rank.
    """
    lightgbm = _library()
    names = feature_names(task.spec)
    objectives: dict[str, dict[str, Any]] = {
        _MEAN: {"objective": "tweedie", "tweedie_variance_power": task.config.tweedie_power}
    }
    objectives |= {f"{level:g}": {"objective": "quantile", "alpha": level} for level in task.spec.quantiles}
    models = {}
    for number, (name, objective) in enumerate(objectives.items()):
        params = _parameters(task) | objective
        if task.ranks > 1:
            machines = [of_rank[number] for of_rank in addresses or []]
            params |= {"machines": ",".join(machines), "num_machines": task.ranks, "tree_learner": "data"}
            params |= {"local_listen_port": int(machines[rank].rpartition(":")[2]), "pre_partition": True}
        data = lightgbm.Dataset(
            x, y, weight=weight, feature_name=list(names), categorical_feature=list(CATEGORIES), params=params
        )
        models[name] = lightgbm.train(params, data, task.config.rounds).model_to_string()
    return pack(task.spec, models)


def _parameters(task: TreeTask) -> dict[str, Any]:
    config = task.config
    return {
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_data_in_leaf,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "feature_fraction": 0.7,
        "cat_smooth": 20.0,
        "num_threads": task.threads,
        "seed": task.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def pack(spec: ModelSpec, models: dict[str, str]) -> bytes:
    """The artifact: a zip of the specification and each booster as LightGBM writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in {"spec.json": json.dumps(spec.to_json()), **models}.items():
            file.writestr(zipfile.ZipInfo(name), text)  # with the date of 1980: the same trees give the same bytes
    return buffer.getvalue()


def unpack(artifact: bytes) -> tuple[ModelSpec, dict[str, str]]:
    """Specification and boosters of an artifact.

    Raises:
        ArtifactError: the bytes are cut short, or are no artifact of trees of this version of the code.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(artifact)) as file:
            texts = {name: file.read(name).decode() for name in file.namelist()}
        return ModelSpec.from_json(json.loads(texts.pop("spec.json"))), texts
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"Trees: expected a whole artifact of this version of the code, came {len(artifact)} bytes: {error}. Train again: --set training.retrain=true."
        ) from error


@dataclass(frozen=True)
class TreeModel:
    """Trained trees and what they read; travels to Spark's workers."""

    artifact: bytes
    shared: SharedRows
    threads: int = 1

    @cached_property
    def _loaded(self) -> tuple[ModelSpec, Shared, dict[str, Any]]:
        lightgbm = _library()
        spec, models = unpack(self.artifact)
        boosters = {name: lightgbm.Booster(model_str=text) for name, text in models.items()}
        return spec, self.shared.of(spec.inputs), boosters

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of `sequences` that they read."""
        return sequence_columns(unpack(self.artifact)[0].inputs)

    def forecasts(self, batch: pa.RecordBatch, origin: date) -> dict[str, Forecast]:
        """The mean [n, H] and quantiles [n, H, K] of the series of a batch, under the name of the model."""
        spec, shared, boosters = self._loaded
        last, width = int(position(np.datetime64(origin), spec.grain)), spec.context
        parts = []
        for start in range(0, batch.num_rows, AT_ONCE):
            block = to_block(batch.slice(start, AT_ONCE), spec, shared, last, width)
            at = np.array([width - 1])
            x = features(block, at, spec, shared, last - width + 1).reshape(-1, len(feature_names(spec)))
            scale = scales(block, at, spec.patch)[..., None]  # [B, 1, 1]
            said = {name: booster.predict(x, num_threads=self.threads) for name, booster in boosters.items()}
            shape = (len(block), spec.horizon)
            mean = said.pop(_MEAN).reshape(shape) * scale[..., 0]
            # Levels are learnt apart and may cross: sorted they are no worse (Chernozhukov et al. 2010).
            quantiles = np.sort(np.stack([q.reshape(shape) for q in said.values()], axis=-1) * scale, axis=-1)
            whole = (block.quantity == np.round(block.quantity)).all(axis=1)[:, None, None]
            begun = (block.observed > 0).any(axis=1)
            quantiles = np.where(whole, np.ceil(quantiles - 0.5), quantiles)
            parts.append((np.maximum(mean, 0.0) * begun[:, None], np.maximum(quantiles, 0.0) * begun[:, None, None]))
        mean, quantiles = (np.concatenate(each) for each in zip(*parts, strict=True))
        return {NAME: (mean, quantiles)}


def _free_addresses(count: int) -> list[str]:
    """Addresses of this machine on which nothing listens."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("", 0))
    host = socket.gethostbyname(socket.gethostname())
    found = [f"{host}:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return found


def _library():
    try:
        import lightgbm
    except ImportError as error:
        raise ConfigError(
            "backtest.models: lightgbm needs the library of this name, which is not installed. "
            "Install it: pip install 'demand-forecasting[baselines]'"
        ) from error
    return lightgbm
