"""A source that arrives as a stream, on real Delta tables: files come one after the other, and some of them come wrong."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest
from stream_shop import SALES, CutShort, Shop, line

from forecasting.errors import QualityError, SourceError
from forecasting.ingest.measures import hash_of
from forecasting.ingest.quality import Content
from forecasting.lake import Lake
from jobs import ingest

CORRECTED = {"latest_by": "recorded_at"}


@pytest.fixture
def shop(tmp_path, make_run, monkeypatch) -> Shop:
    monkeypatch.setattr(ingest, "SOURCES", ("sales",))  # one of the tables, to save the time of the others
    made = Shop(tmp_path, make_run)
    made.describes()
    return made


@pytest.fixture
def at_once(tmp_path, make_run) -> Callable[..., Shop]:
    """The same files, read whole into a lake of their own."""

    def make(**sales) -> Shop:
        elsewhere = (f"lake.path={tmp_path / 'elsewhere'}", f"lake.schema=elsewhere_{os.getpid()}_{tmp_path.name}")
        made = Shop(tmp_path, lambda *settings: make_run(*settings, *elsewhere))
        made.describes(**{"arrives": "whole"} | sales)
        made.ingests()
        return made

    return make


@pytest.fixture
def cut_short(shop, monkeypatch) -> Callable[..., None]:
    """Makes a run that stops where it would call a function, or after that."""

    def stop_at(module, name: str, after: bool = False) -> None:
        real = getattr(module, name)

        def stop(*args, **kwargs):
            if after:
                real(*args, **kwargs)
            raise CutShort

        with monkeypatch.context() as patch, pytest.raises(CutShort):
            patch.setattr(module, name, stop)
            shop.ingests()

    return stop_at


def test_files_one_after_the_other_make_the_same_tables_as_all_at_once(shop, at_once):
    first = (line("o1", 3), line("o2", 4), line("o2", 4), line("o3", 4, "many"))
    shop.delivers("1.csv", *first)
    assert shop.ingests() == {"rows": 4, "quarantined": 2, "sales": 2}

    late = shop.delivers("2.csv", line("o4", 5), line("o5", 1, 0))  # the second line is late
    os.utime(late, (0, 0))  # copied with the time at which it was written, long ago
    shop.delivers("1 again.csv", *first)
    assert shop.ingests() == {"rows": 6, "quarantined": 4, "sales": 2}
    assert shop.sold() == [("o1", 3, 1), ("o2", 4, 1), ("o4", 5, 1), ("o5", 1, 0)]
    assert shop.refused() == Counter({("o3", "type_quantity"): 2, ("o2", "duplicate"): 3, ("o1", "duplicate"): 1})
    (quality,) = shop.lake.read("data_quality").where("rows_in = 6").collect()
    assert (str(quality["first_day"]), str(quality["last_day"])) == ("2024-03-01", "2024-03-05")
    assert (quality["table_rows"], quality["gap_days"]) == (4, 1)  # of the table: only the second has no line
    assert quality["warnings"] == {"revenue_without_units": 1}

    before = shop.versions()
    assert shop.ingests() == {"rows": 0, "quarantined": 0, "sales": 0}
    assert shop.versions() == before

    whole = at_once()
    assert whole.sold() == shop.sold()
    assert whole.checksum() == shop.checksum()
    assert whole.totals() == shop.totals()
    assert whole.refused() == shop.refused()


def test_a_corrected_line_takes_the_place_of_the_old_one_also_if_it_is_cut_short(shop, cut_short):
    shop.describes(**CORRECTED)
    shop.delivers("1.csv", line("o1", units=5, recorded=1), line("o2", recorded=1), line("o3", units=7, recorded=4))
    assert shop.ingests()["rows"] == 3

    shop.delivers("2.csv", line("o1", units=6, recorded=3), line("o4", recorded=3), line("o3", units=8, recorded=2))
    cut_short(ingest, "deliver", after=True)  # all is written, but Spark has not noted that it is
    assert shop.ingests() == {"rows": 3, "quarantined": 1, "sales": 2}
    assert shop.lake.commits("sales", 1)[0].operation == "MERGE"
    assert shop.sold() == [("o1", 1, 6), ("o2", 1, 1), ("o3", 1, 7), ("o4", 1, 1)]
    assert shop.refused() == Counter([("o1", "superseded"), ("o3", "superseded")])
    (old,) = shop.lake.read("quarantine").where('record LIKE \'%"order_id":"o1"%\'').collect()
    assert '"quantity":5.0' in old["record"]
    assert old["source_file"].endswith("/raw/1.csv")
    assert shop.totals() == {
        "in": 6,
        "accepted": 5,  # one of them left the table again
        "quarantined": 1,
        "broken": Counter(superseded=2),
        "warnings": Counter(),
    }
    assert shop.checksum() == content_of_table(shop.lake).checksum


def content_of_table(lake: Lake) -> Content:
    """What the sales table holds, counted row by row."""
    hashes = [row[0] for row in lake.read("sales").select(hash_of("sales")).collect()]
    return Content(len(hashes), sum(hashes))


def test_rows_that_were_read_otherwise_are_not_mixed_unless_all_are_read_again(shop):
    shop.delivers("1.csv", line("o1"))
    shop.ingests("run.id=same")
    taken_back = shop.lake.version("sales")
    shop.delivers("2.csv", line("o2"))
    shop.ingests("run.id=same")
    shop.delivers("3.csv", line("o3"))

    with pytest.raises(SourceError, match=r"expected the mapping by .*source\.filter.*--set source\.reread=true"):
        shop.ingests("source.filter={sales: \"order_id <> 'o1'\"}")
    shop.lake.restore("sales", taken_back)  # somebody repairs the table by hand
    with pytest.raises(SourceError, match=r"taken back to batch 0.*source\.reread=true"):
        shop.ingests()
    assert shop.sold() == [("o1", 1, 1)]
    shop.describes(columns=SALES["columns"] | {"quantity": "10 * units"})
    with pytest.raises(SourceError, match=r"expected the mapping by .*--set source\.reread=true"):
        shop.ingests()
    assert shop.sold() == [("o1", 1, 1)]
    shop.ingests("source.reread=true", "run.id=same")
    assert shop.sold() == [("o1", 1, 10), ("o2", 1, 10), ("o3", 1, 10)]


def test_a_delivery_that_is_too_bad_is_refused_until_it_may_be_so_bad(shop):
    strict = "quality.max_quarantined_share=0.5"
    shop.delivers("1.csv", line("o1"), line("o2", units="many"), line("o3", units="many"))
    with pytest.raises(QualityError, match=r"at most 50\.0% .*2 of 3 \(66\.7%\)"):
        shop.ingests(strict)
    assert shop.sold() == []
    shop.delivers("2.csv", line("o4"), line("o5"))  # with the second file it is not too bad any more
    shop.ingests(strict)
    before, checksum = [("o1", 1, 1), ("o4", 1, 1), ("o5", 1, 1)], shop.checksum()
    assert shop.sold() == before

    shop.delivers("3.csv", line("o6"), line("o7", units="many"), line("o8", units="many"))
    with pytest.raises(QualityError, match=r"2 of 3 \(66\.7%\)"):
        shop.ingests(strict)
    assert shop.sold() == before
    assert shop.checksum() == checksum  # later stages may go on with it
    shop.delivers("4.csv", line("o9"))
    shop.ingests("quality.max_quarantined_share=0.7")  # the refused delivery first, then what is new
    assert shop.sold() == [*before, ("o6", 1, 1), ("o9", 1, 1)]
    assert shop.refused() == Counter((f"o{n}", "type_quantity") for n in (2, 3, 7, 8))
    assert shop.totals()["in"] == 9
    assert shop.checksum() == content_of_table(shop.lake).checksum
