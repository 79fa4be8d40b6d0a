import numpy as np
import pytest

from benchmarks.gpu import difference, main, settled
from forecasting.training.rank import RankTask


def test_steps_are_timed_between_reports_without_validation():
    told = [
        {"step": 10, "loss": 1.0, "seconds": 50.0, "waiting": 0.5},  # compiled in these
        {"step": 20, "loss": 1.0, "seconds": 51.0, "waiting": 0.5},
        {"step": 25, "loss": 1.0, "seconds": 51.5, "waiting": 0.5},
        {"step": 25, "validated": 25},
        {"step": 30, "loss": 1.0, "seconds": 99.0, "waiting": 0.5},
        {"step": 40, "loss": 1.0, "seconds": 100.5, "waiting": 0.5},
    ]
    step, waiting = settled(told)
    assert (step, waiting) == pytest.approx((0.1, 0.5))


def test_forecasts_that_differ_little_do_not_count_as_off():
    mean, quantiles = np.full((2, 3), 2.0), np.array([[0.0, 1.0, 100.0, 100.0]])
    apart = np.array([0.009, 0.02, 0.9, 1.1])
    told = difference((mean * 1.01, quantiles + apart), (mean, quantiles))
    assert told == pytest.approx({"quantiles_off": 0.5, "means_off": 0.01})


def test_without_a_gpu_it_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("benchmarks.gpu.alone", lambda function, *arguments: "")
    monkeypatch.setattr(RankTask, "load", None)
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "--device cpu" in "".join(capsys.readouterr())
