"""A finished training in MLflow's file, with real MLflow."""

import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from forecasting.config import Config
from forecasting.models import artifact
from forecasting.training import tracking
from forecasting.training.tracking import track


@pytest.fixture
def trained(small_run, make_config, tmp_path) -> tuple[Config, str]:
    """A configuration that tracks into a folder of its own, and the version of its model."""
    models = tmp_path / "models"
    config = make_config(*small_run.settings, "tracking.enabled=true", f"lake.model_path={models}")
    version = small_run.figures["train"]["model_version"]
    path = f"{version}/{artifact.FILE}"
    artifact.write_bytes(f"{models}/{path}", artifact.read_bytes(f"{small_run.run.config.lake.models}/{path}"))
    return config, version


def client_of(config: Config) -> MlflowClient:
    uri, _ = tracking.store(config)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs_of(config: Config) -> list:
    client = client_of(config)
    return client.search_runs([client.get_experiment_by_name(config.tracking.experiment).experiment_id])


def test_a_training_is_noted_once_with_settings_curve_model_and_signature(trained, tmp_path):
    config, version = trained
    assert track(config, "transformer", version) == (
        "tracked in MLflow: experiment demand-forecasting, demand-forecasting version 1"
    )
    assert track(config, "transformer", version) == ""
    (run,) = runs_of(config)
    assert run.info.status == "FINISHED"
    assert run.data.params["model.width"] == "16" and run.data.params["training.ranks"] == "2"
    assert run.data.tags["model_version"] == version and run.data.tags["data_version"]
    _, _, note = artifact.unpack(artifact.read_bytes(f"{config.lake.models}/{version}/{artifact.FILE}"))
    client = client_of(config)
    curve = [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, "validation_wql")]
    assert curve == [(each["step"], each["wql"]) for each in note["result"]["history"]]
    folder = client.download_artifacts(run.info.run_id, "model", str(tmp_path))
    described = Model.load(folder)
    assert {"item_id", "quantity", "planned_price", "brand"} <= set(described.signature.inputs.input_names())
    assert described.signature.outputs.input_names()[:3] == ["item_id", "location_id", "mean"]
    assert artifact.unpack(artifact.read_bytes(f"{folder}/{artifact.FILE}"))[2] == note
    (registered,) = client.search_model_versions(f"name='{config.tracking.registered_model}'")
    assert (registered.version, registered.tags["model_version"]) == (1, version)


def test_what_was_cut_short_is_noted_anew(trained, monkeypatch):
    config, version = trained

    def cut_short(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "_log_curve", cut_short)
        with pytest.raises(KeyboardInterrupt):
            track(config, "transformer", version)
    assert track(config, "transformer", version)
    assert [run.info.status for run in runs_of(config)] == ["FINISHED"]


def test_a_store_that_does_not_answer_costs_no_training(trained, make_config, small_run, monkeypatch):
    config, version = trained
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = (*small_run.settings, "tracking.enabled=true", "tracking.uri=http://127.0.0.1:9")
    unreachable = make_config(*settings, f"lake.model_path={config.lake.models}")
    assert track(unreachable, "transformer", version).startswith("not tracked in http://127.0.0.1:9: ")


def test_without_a_folder_of_this_machine_or_a_server_nothing_is_tracked(make_config):
    config = make_config("tracking.enabled=true", "lake.model_path=s3://bucket/models")
    assert track(config, "transformer", "version").startswith("not tracked: set tracking.uri")
