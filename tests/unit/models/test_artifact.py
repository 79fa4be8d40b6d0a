"""The artifact: one file, whole or refused, loadable without Spark."""

import subprocess
import sys
from datetime import date

import numpy as np
import pytest
from small_sequences import LAST, small_config, small_rows, small_shared, small_spec

from forecasting.errors import ArtifactError
from forecasting.models import artifact
from forecasting.models.build import build_model


def test_an_artifact_comes_back_as_it_went():
    spec = small_spec()
    weights = build_model(spec, small_shared(), seed=1).get_weights()
    model, loaded, _ = artifact.load_model(artifact.pack(spec, weights, {"seed": 1}), small_rows())
    assert loaded == spec
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))


@pytest.mark.parametrize("cut", [0, 10, 2000])
def test_an_artifact_cut_short_is_refused(cut):
    packed = artifact.pack(small_spec(), build_model(small_spec(), small_shared(), seed=1).get_weights(), {})
    with pytest.raises(ArtifactError, match="expected a whole model file"):
        artifact.unpack(packed[:cut])


def test_weights_of_another_network_are_refused():
    packed = artifact.pack(small_spec(), build_model(small_spec(width=32), small_shared(), seed=1).get_weights(), {})
    with pytest.raises(ArtifactError, match="do not fit"):
        artifact.load_model(packed, small_rows())


def test_a_specification_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(type(small_spec()), "to_json", lambda spec: {"width": 8})
    with pytest.raises(ArtifactError, match=r"another version of the code.*Train again"):
        artifact.unpack(artifact.pack(small_spec(), [], {}))


def test_a_missing_model_names_the_job_to_run(tmp_path):
    with pytest.raises(ArtifactError, match="Run the job train first"):
        artifact.trained_model(small_config(f"lake.path={tmp_path}"), "data", LAST)


def test_the_version_follows_data_and_settings_but_not_the_clock():
    def version(*settings, data="data", until=LAST):
        return artifact.model_version(small_config(*settings), data, until)

    assert version() == version("training.max_minutes=1")
    others = [
        version("training.seed=1"),
        version("model.width=32"),
        version(data="other"),
        version(until=date(2023, 1, 1)),
    ]
    assert len({version(), *others}) == 5


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = str(tmp_path / "a folder" / "x.npz")
    artifact.write_bytes(path, b"one")
    artifact.write_bytes(path, b"two")
    assert artifact.read_bytes(path) == b"two"
    assert artifact.list_files(str(tmp_path / "a folder")) == ["x.npz"]


def test_models_need_no_spark():
    code = "import sys, forecasting.models.artifact, forecasting.models.network; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
