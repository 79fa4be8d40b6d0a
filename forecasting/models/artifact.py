"""The model artifact: weights, specification, vocabularies and data version in one file that numpy alone can open."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
from pyarrow import fs

from forecasting import __version__
from forecasting.config import Config, fingerprint
from forecasting.errors import ArtifactError
from forecasting.models.shared import SharedRows
from forecasting.models.spec import ModelSpec

FILE = "model.npz"
_SPEC = "spec.json"
_OTHER_CODE = "it was made by another version of the code, whose network was another"


def model_version(config: Config, data_version: str, until: date) -> str:
    """Fingerprint of all that decides a model's weights: data, the last period that training saw, settings and code version."""
    ignored = (
        *("max_minutes", "validate_every", "checkpoint_minutes", "retrain", "restarts", "trace_steps"),
        *("launcher", "hosts", "fewest_ranks", "start_timeout", "rank_timeout"),
    )
    training = config.training.model_dump(mode="json")
    return fingerprint(
        {
            "data": data_version,
            "until": until.isoformat(),
            "training": {key: value for key, value in training.items() if key not in ignored},
            "settings": config.fingerprint("series", "features", "forecast", "model"),
            "code": __version__,
        }
    )


def pack(spec: ModelSpec, weights: list[np.ndarray], note: Mapping[str, Any]) -> bytes:
    """The artifact's bytes. `note` is kept with it: metrics, seeds, package versions."""
    buffer = io.BytesIO()
    described = json.dumps({"spec": spec.to_json(), "note": dict(note)}, default=str)
    arrays = {f"weight_{index:04d}": value for index, value in enumerate(weights)}
    np.savez(buffer, **arrays, **{_SPEC: np.frombuffer(described.encode(), np.uint8)})
    return buffer.getvalue()


def unpack(artifact: bytes) -> tuple[ModelSpec, list[np.ndarray], dict[str, Any]]:
    """Specification, weights and note of an artifact.

    Raises:
        ArtifactError: the bytes are cut short, are no artifact, or one of another version of the code.
    """
    try:
        with np.load(io.BytesIO(artifact)) as arrays:
            described = json.loads(arrays[_SPEC].tobytes().decode())
            weights = [arrays[name] for name in sorted(arrays.files) if name.startswith("weight_")]
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"Model artifact: expected a whole model file, came {len(artifact)} bytes: {error}. Train again: --set training.retrain=true."
        ) from error
    try:
        spec = ModelSpec.from_json(described["spec"])
    except (TypeError, KeyError) as error:
        raise ArtifactError(
            f"Model artifact: {_OTHER_CODE} ({error}). Train again: --set training.retrain=true."
        ) from error
    return spec, weights, described["note"]


def load_model(artifact: bytes, rows: SharedRows):
    """The network of an artifact, ready to call, its specification and what its series share. Needs TensorFlow, but no Spark.

    Args:
        rows: of the tables that series share; the model takes what it was trained with.

    Raises:
        ArtifactError: the weights do not fit the specification.
    """
    from forecasting.models.build import build_model

    spec, weights, _ = unpack(artifact)
    shared = rows.of(spec.inputs)
    model = build_model(spec, shared)
    shapes = [tuple(v.shape) for v in model.weights]
    if shapes != [w.shape for w in weights]:
        raise ArtifactError(
            f"Model artifact: its weights do not fit; {_OTHER_CODE}. Train again: --set training.retrain=true."
        )
    model.set_weights(weights)
    return model, spec, shared


def trained_model(config: Config, data_version: str, until: date) -> tuple[bytes, str]:
    """Bytes and version of the model that this configuration trained on this data up to a period.

    Raises:
        ArtifactError: it has not been trained.
    """
    version = model_version(config, data_version, until)
    path = f"{config.lake.models}/{version}/{FILE}"
    if not exists(path):
        raise ArtifactError(
            f"Model {path}: expected to exist for data version {data_version} and these settings, came none. Run the job train first."
        )
    return read_bytes(path), version


def filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a folder or URI, and the path within it: local paths, s3://, gs://, hdfs:// and the like."""
    if urlparse(uri).scheme in ("", "file"):
        path = Path(urlparse(uri).path if uri.startswith("file:") else uri).resolve()
        return fs.LocalFileSystem(), str(path)
    return fs.FileSystem.from_uri(uri)


def exists(uri: str) -> bool:
    """Whether a file is there."""
    system, path = filesystem(uri)
    return system.get_file_info(path).type == fs.FileType.File


def read_bytes(uri: str) -> bytes:
    """All bytes of a file."""
    system, path = filesystem(uri)
    with system.open_input_stream(path) as stream:
        return stream.read()


def write_bytes(uri: str, content: bytes) -> None:
    """Writes a file whole or not at all: under another name first, then renamed."""
    system, path = filesystem(uri)
    system.create_dir(path.rpartition("/")[0], recursive=True)
    try:
        with system.open_output_stream(f"{path}.part") as stream:
            stream.write(content)
    except OSError:
        delete(f"{uri}.part")  # on a full disk what was written of it would only keep room from others
        raise
    system.move(f"{path}.part", path)


def list_files(uri: str) -> list[str]:
    """Names of the files in a folder, sorted; none if there is no such folder."""
    system, path = filesystem(uri)
    found = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return sorted(info.base_name for info in found if info.type == fs.FileType.File)


def delete_folder(uri: str) -> None:
    """Deletes a folder with all that is in it, if it is there."""
    system, path = filesystem(uri)
    if system.get_file_info(path).type == fs.FileType.Directory:
        system.delete_dir(path)


def delete(uri: str) -> None:
    """Deletes a file, if it is there."""
    if exists(uri):
        system, path = filesystem(uri)
        system.delete_file(path)
