"""A training that goes on from an earlier model."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from small_sequences import LAST, ORIGIN, small_config, small_inputs, small_rows, small_sequences, small_spec

from forecasting.errors import TrainingError
from forecasting.models import artifact
from forecasting.models.batches import network_input, to_block
from forecasting.models.build import build_model
from forecasting.models.spec import STATIC
from forecasting.training.warm_start import going_on, parent_path, take_over


@pytest.fixture
def parent(tmp_path):
    """Path of a model with weights of its own, and what it says of the small sequences."""
    spec = small_spec()
    model = build_model(spec, small_rows().of(spec.inputs), 5)
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    path = f"{tmp_path}/parent/{artifact.FILE}"
    artifact.write_bytes(path, artifact.pack(spec, model.get_weights(), {}))
    return path, forecasts(model, spec)


def forecasts(model, spec) -> np.ndarray:
    """Quantiles of all small sequences, of which a quarter each has the values a, b, none and new."""
    shared = small_rows().of(spec.inputs)
    block = to_block(small_sequences(), spec, shared, ORIGIN, spec.context)
    last = np.array([spec.patches - 1], np.int32)
    read = network_input(block, np.arange(len(block)), 0, last, spec, shared, ORIGIN - spec.context + 1)
    return model(read, last)[0].numpy()


def with_more_to_read(**changes):
    """The specification of a model of newer data: another event, another signal, a new value of every attribute."""
    words = dict.fromkeys(STATIC, ("b", "new"))
    inputs = replace(small_inputs(), past=("discount",), events=("harvest",), signals=(), vocabularies=words)
    return replace(small_spec(), inputs=inputs, **changes)


def test_it_reads_what_its_parent_read_and_new_values_begin_as_unknown_ones(parent):
    path, said = parent
    spec = going_on(with_more_to_read(), path, LAST)
    assert spec.inputs.vocabulary("brand") == ("a", "b", "new")
    assert replace(spec.inputs, vocabularies=None) == replace(small_inputs(), vocabularies=None)
    model = build_model(spec, small_rows().of(spec.inputs), 1)
    assert not np.allclose(forecasts(model, spec), said, rtol=1e-3)
    take_over(model, spec, path)
    np.testing.assert_allclose(forecasts(model, spec), said, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"width": 32, "layers": 3}, "came one of width 16 and not 32, layers 1 and not 3"),
        ({"horizon": 14}, "came one of horizon 7 and not 14"),
    ],
)
def test_another_shape_is_a_clear_error(parent, changes, expected):
    with pytest.raises(TrainingError, match=expected):
        going_on(with_more_to_read(**changes), parent[0], LAST)


def test_a_parent_that_has_seen_what_the_backtest_judges_is_refused(parent):
    with pytest.raises(TrainingError, match="a backtest of it would be judged by what it has seen"):
        going_on(with_more_to_read(), parent[0], LAST - timedelta(1))


def test_a_parent_that_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(TrainingError, match=r"expected a model at .*/none/model.npz, came none"):
        going_on(small_spec(), f"{tmp_path}/none/{artifact.FILE}", LAST)


@pytest.mark.parametrize(
    ("named", "path"),
    [
        ("abc", "models/abc/model.npz"),
        ("s3://bucket/models/abc", "s3://bucket/models/abc/model.npz"),
        ("/home/me/model.npz", "/home/me/model.npz"),
        ("null", None),
    ],
)
def test_a_parent_is_named_by_version_folder_or_file(named, path):
    assert parent_path(small_config("lake.model_path=models", f"training.warm_start={named}")) == path
