"""Who of the ranks is named when one is lost."""

import json
import time

from forecasting.training import reports
from forecasting.training.reports import own_host, who_is_missing


def tell(folder, rank, step, alive=0.0, host="elsewhere", **more):
    """A report of a rank that gave its last sign so many seconds ago."""
    told = {
        "rank": rank,
        "ranks": 3,
        "host": host,
        "pid": 2**22 + 1,
        "step": step,
        "alive": time.time() - alive,
        **more,
    }
    (folder / f"rank-{rank:04d}.json").write_text(json.dumps(told))


def named(folder):
    return [part.split(" on ")[0] for part in who_is_missing(str(folder), patience=10).split(", ") if "rank" in part]


def test_a_rank_that_is_gone_is_named_before_one_that_is_silent(tmp_path):
    tell(tmp_path, 0, 100)
    tell(tmp_path, 1, 90, alive=60)
    tell(tmp_path, 2, 90, host=own_host())
    assert named(tmp_path) == ["rank 2"]


def test_a_rank_that_is_silent_is_named(tmp_path):
    tell(tmp_path, 0, 100)
    tell(tmp_path, 1, 100, alive=60)
    tell(tmp_path, 2, 100, ended=True, host=own_host())
    assert named(tmp_path) == ["rank 1"]


def test_a_rank_is_behind_only_once_all_have_told_where_they_stand(tmp_path, monkeypatch):
    tell(tmp_path, 0, 100)
    tell(tmp_path, 1, 90, alive=2.9)
    tell(tmp_path, 2, 90, alive=2)
    monkeypatch.setattr(reports.time, "sleep", lambda seconds: tell(tmp_path, 1, 100))
    assert named(tmp_path) == ["rank 2"]


def test_what_is_left_of_a_start_with_more_ranks_counts_nothing(tmp_path, monkeypatch):
    tell(tmp_path, 0, 100, ranks=1)
    tell(tmp_path, 1, 90, alive=60, ranks=2)
    monkeypatch.setattr(reports.time, "sleep", lambda seconds: None)
    assert named(tmp_path) == []
