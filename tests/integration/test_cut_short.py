"""Killed at any write, out of room, started twice at once: no line is lost and none counts twice."""

from __future__ import annotations

import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable
from pandas.testing import assert_frame_equal
from stream_shop import CutShort, Shop, line

from forecasting.contracts import TABLES
from forecasting.errors import ForecastingError
from forecasting.lake import Lake
from forecasting.runtime import friendly_errors
from jobs import aggregate, ingest

JOBS = (ingest, aggregate)
COMPARED = ("sales", "location_days", "demand")
LINEAGE = ("run_id", "data_version", "source_file")


@pytest.fixture
def shops(tmp_path, make_run, monkeypatch) -> Callable[[str], Shop]:
    """Shops over the same files and with the same dataset, each with a lake of its own."""
    monkeypatch.setattr(ingest, "SOURCES", ("sales",))

    def make(lake: str) -> Shop:
        own = (f"lake.path={tmp_path / lake}", f"lake.schema={lake}_{tmp_path.name}".replace("-", "_"))
        shop = Shop(tmp_path, lambda *settings: make_run(*settings, *own))
        shop.describes(latest_by="recorded_at")
        return shop

    return make


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """What a lake holds, in order and without what differs from run to run."""
    found = {}
    for name in COMPARED:
        frame = DeltaTable(str(folder / name)).to_pandas().drop(columns=list(LINEAGE), errors="ignore")
        key = [column for column in TABLES[name].key or frame.columns if column in frame]
        found[name] = frame.astype(dict.fromkeys(key, str)).sort_values(key, ignore_index=True)
    return found


@pytest.mark.slow
def test_a_run_that_is_cut_short_at_every_write_ends_in_the_same_tables(shops, tmp_path, monkeypatch):
    killed, whole = shops("killed"), shops("whole")
    first = [line(f"o{n}", n + 1, n, 1) for n in range(6)]
    killed.delivers("1.csv", *first, first[0], line("bad", units="many"))
    killed.runs(*JOBS)
    killed.delivers("2.csv", line("o2", 3, 8, 5), line("o9", 9), first[1], line("bad", units="many"))
    whole.runs(*JOBS)

    survived = set()
    for write in ("_save", "merge"):
        real = getattr(Lake, write)

        def then_stop(lake, df, table, *args, real=real, **kwargs):
            done = real(lake, df, table, *args, **kwargs)
            name = getattr(table, "name", table)
            if name not in survived:
                survived.add(name)
                raise CutShort
            return done

        monkeypatch.setattr(Lake, write, then_stop)
    for job in JOBS:
        for _ in range(5):
            try:
                killed.runs(job)
            except CutShort:
                continue
            break
    assert survived == {
        "sales",
        "quarantine",
        "data_quality",
        "location_days",
        "demand",
    }  # each was the last write of a run
    mine = tables(tmp_path / "killed")
    for name, expected in tables(tmp_path / "whole").items():
        assert_frame_equal(mine[name], expected, obj=name)
    assert killed.refused() == whole.refused()
    assert killed.checksum() == whole.checksum()


@pytest.fixture
def little_room(spark) -> Callable[[int], None]:
    """Lets Spark write no file of more than so many bytes, as on a disk that is full."""
    jvm = int(spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid())
    before = resource.prlimit(jvm, resource.RLIMIT_FSIZE)
    yield lambda most: resource.prlimit(jvm, resource.RLIMIT_FSIZE, (most, before[1]))
    resource.prlimit(jvm, resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_named_and_leaves_the_tables_as_they_were(shops, little_room, capsys):
    shop = shops("full")
    shop.delivers("1.csv", line("o1"))
    shop.ingests()
    shop.delivers("2.csv", *(line(f"p{n}", units=n) for n in range(3000)))
    little_room(8_000)
    with pytest.raises(SystemExit), friendly_errors():
        shop.ingests()
    assert "Expected room to write" in " ".join(capsys.readouterr().err.split())
    little_room(resource.RLIM_INFINITY)
    assert shop.sold() == [("o1", 1, 1)]
    assert shop.ingests()["rows"] == 3000
    assert len(shop.sold()) == 3001


def test_two_that_read_the_same_stream_at_once_count_it_once(shops):
    shop = shops("twice")
    shop.delivers("1.csv", line("o1"))
    shop.ingests()
    shop.delivers("2.csv", *(line(f"p{n}") for n in range(50)))

    def told(_: int) -> object:
        try:
            return shop.ingests()
        except ForecastingError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(told, range(2))
    assert not (isinstance(one, Exception) and isinstance(other, Exception))
    assert len(shop.sold()) == 51
    shop.ingests()
    assert len(shop.sold()) == 51
