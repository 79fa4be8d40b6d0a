"""Finished trainings in MLflow: settings, learning curve, model with its signature, registered version."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from forecasting.config import Config
from forecasting.contracts import SEQUENCES
from forecasting.models import artifact
from forecasting.models.batches import sequence_columns
from forecasting.models.spec import ModelSpec

_VERSION = "model_version"
_MOST_PARAMETERS = 100  # that MLflow takes at once
_LONGEST = 500  # characters of a parameter's value


def track(config: Config, name: str, version: str) -> str:
    """Notes a trained model in MLflow, once.

    Args:
        config: that of the network `name`. version: the model's.

    Returns:
        What to tell about it; empty where it was noted before.
    """
    if not config.tracking.enabled:
        return ""
    uri, home = store(config)
    if uri is None:
        return "not tracked: set tracking.uri, since lake.model_path is no folder of this machine"
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        return "not tracked: MLflow is not installed (pip install 'demand-forecasting[tracking]')"
    for talker in ("mlflow", "alembic"):  # of each table that it makes
        logging.getLogger(talker).setLevel(logging.WARNING)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        return _note_model(client, home, config, name, version)
    except MlflowException as error:  # the model is there all the same
        return f"not tracked in {uri}: {error.message.splitlines()[0]} The job train tries again when it runs again"


def _note_model(client, home: str | None, config: Config, name: str, version: str) -> str:
    experiment = _experiment(client, config.tracking.experiment, home)
    for run in client.search_runs([experiment], f"tags.{_VERSION} = '{version}'"):
        if run.info.status == "FINISHED":
            return ""
        client.delete_run(run.info.run_id)  # one that was cut short
    content = artifact.read_bytes(f"{config.lake.models}/{version}/{artifact.FILE}")
    spec, _, note = artifact.unpack(content)
    run = client.create_run(experiment, run_name=f"{name} {version}", tags=_tags(spec, note, version, name))
    run_id = run.info.run_id
    _log_settings(client, run_id, note["configuration"])
    _log_curve(client, run_id, note["result"])
    with tempfile.TemporaryDirectory(prefix="forecasting-mlflow-") as folder:
        Path(folder, artifact.FILE).write_bytes(content)
        _describe(spec, config.forecast.quantile_columns, run_id).save(str(Path(folder, "MLmodel")))
        client.log_artifacts(run_id, folder, "model")
    registered = config.tracking.registered_model
    as_version = f", {registered} {_register(client, registered, run, version)}" if registered else ""
    client.set_terminated(run_id)
    return f"tracked in MLflow: experiment {config.tracking.experiment}{as_version}"


def store(config: Config) -> tuple[str | None, str | None]:
    """Where MLflow keeps what it is told, and where artifacts of new experiments go: None for a server, which knows it."""
    if config.tracking.uri:
        return config.tracking.uri, None
    models = config.lake.models
    if urlparse(models).scheme not in ("", "file"):
        return None, None
    folder = Path(urlparse(models).path).resolve().parent / "_tracking"
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()


def _experiment(client, name: str, home: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    try:
        return client.create_experiment(name, artifact_location=home)
    except MlflowException:  # another training was faster
        return client.get_experiment_by_name(name).experiment_id


def _tags(spec: ModelSpec, note: Mapping[str, Any], version: str, name: str) -> dict[str, str]:
    packages = {f"package.{package}": number for package, number in note["packages"].items()}
    own = {_VERSION: version, "network": name, "data_version": spec.data_version, "code_version": note["code"]}
    return own | {"trained_until": spec.trained_until.isoformat(), "python": note["python"]} | packages


def _log_settings(client, run_id: str, configuration: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    sections = ("series", "features", "forecast", "model", "training")
    params = [
        Param(key, str(value)[:_LONGEST])
        for section in sections
        for key, value in _flat(section, configuration[section])
    ]
    for begin in range(0, len(params), _MOST_PARAMETERS):
        client.log_batch(run_id, params=params[begin : begin + _MOST_PARAMETERS])


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value


def _log_curve(client, run_id: str, result: Mapping[str, Any]) -> None:
    from mlflow.entities import Metric

    ended = time.time()
    began = ended - result["seconds"]
    metrics = [
        Metric("validation_wql", each["wql"], int(1000 * (began + each["seconds"])), each["step"])
        for each in result["history"]
    ]
    last = {"best_validation_wql": result["validation_wql"], "seconds": result["seconds"], "ranks": result["ranks"]}
    metrics += [Metric(key, value, int(1000 * ended), result["steps"]) for key, value in last.items()]
    client.log_batch(run_id, metrics=metrics)


def _describe(spec: ModelSpec, quantiles: Sequence[str], run_id: str):
    """MLflow's description of the model: of which columns it makes which."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array, Map

    plain = {
        "string": DataType.string,
        "int": DataType.integer,
        "tinyint": DataType.integer,
        "smallint": DataType.integer,
        "float": DataType.float,
        "date": DataType.datetime,
    }

    def kind(name: str):
        if name.startswith("array<"):
            return Array(kind(name[6:-1]))
        if name.startswith("map<string,"):
            return Map(kind(name[11:-1]))
        return plain[name]

    types = {column.name: column.type for column in SEQUENCES.columns}
    taken = Schema([ColSpec(kind(types[name]), name) for name in sequence_columns(spec.inputs)])
    keys = [ColSpec(kind(types[name]), name) for name in ("item_id", "location_id")]
    given = Schema([*keys, *(ColSpec(Array(DataType.float), name) for name in ("mean", *quantiles))])
    model = Model(run_id=run_id, artifact_path="model", signature=ModelSignature(taken, given))
    model.add_flavor("forecasting", data=artifact.FILE, grain=spec.grain, horizon=spec.horizon)
    return model


def _register(client, name: str, run, version: str) -> str:
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):  # there is one
        client.create_registered_model(name)
    tags = {_VERSION: version}
    found = client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)
    return f"version {found.version}"
