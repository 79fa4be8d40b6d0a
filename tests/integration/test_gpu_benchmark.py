"""The benchmark of training and scoring on a GPU, without one."""

import pytest
from small_training import small_task

from benchmarks.gpu import main


@pytest.mark.slow
def test_it_trains_and_scores_what_was_laid_out(tmp_path, capsys):
    task = small_task(tmp_path, "training.ranks=2")
    task.save()
    options = ["--device", "cpu", "--precision", "float32", "--xla", "off", "--epochs", "7"]
    main([str(tmp_path), *options, "--score", "24", "--repeats", "2"])
    said = capsys.readouterr().out
    figures = {words[1]: words[2:] for words in map(str.split, said.splitlines()) if words[:1] == ["figure"]}
    trained, scored = "train_cpu_float32_plain_16_members1", "score_cpu_float32_plain_16_members1_24"
    assert figures[f"{trained}_steps"] == ["21"]  # 48 series, 16 a step, seven times
    assert 0 < float(figures[f"{trained}_wql"][0]) < 2
    assert len(figures[f"{scored}_series_per_second"]) == 2
    assert "float32" in said.splitlines()[-2]
