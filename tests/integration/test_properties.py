"""From files to sequences: what order, splitting, re-delivery and the future can change, and what they cannot."""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from small_shop import MOMENTS, described, write_lines

from forecasting.config import load_config
from forecasting.contracts import SEQUENCES
from forecasting.demand.aggregate import build_demand
from forecasting.demand.location_days import build_location_days, lines_per_day
from forecasting.features.history import histories
from forecasting.features.sequences import Axis, build_sequences
from forecasting.ingest.check import check_source
from forecasting.ingest.copies import without_copies
from forecasting.ingest.dataset import Dataset
from forecasting.ingest.read import read_source
from forecasting.lake import Lake
from jobs.features import facts

ZONE = ZoneInfo("Europe/Berlin")
START, DAYS, HORIZON = date(2024, 3, 1), 45, 3  # the last day of March has 23 hours
LAST = START + timedelta(DAYS)
CONFIG = load_config(settings=["series.location_level=location", "demand.open_lines=2", "demand.missing_after=3"])
#: Minutes since midnight UTC of START, item, units, cents.
LINE = st.tuples(st.integers(0, DAYS * 1440 - 120), st.sampled_from("ab"), st.integers(-2, 6), st.integers(0, 999))
CASE = st.tuples(st.lists(LINE, min_size=1, max_size=80), st.integers(1, DAYS - 1), st.integers(0, 2**16))


def local_day(minute: int) -> date:
    moment = datetime(START.year, START.month, START.day, tzinfo=ZoneInfo("UTC")) + timedelta(minutes=minute)
    return moment.astimezone(ZONE).date()


def text(place: str, number: int, minute: int, item: str, units: int, cents: int) -> str:
    """A line of the log, its time in UTC; a return is paid back."""
    moment = datetime(START.year, START.month, START.day, tzinfo=ZoneInfo("UTC")) + timedelta(minutes=minute)
    return (
        f"{place}-{number},{item},{place},{moment:%Y-%m-%d %H:%M:00},{units},{(cents if units >= 0 else -cents) / 100}"
    )


def with_another_future(lines: list, cut: date) -> list:
    """The same lines up to the day `cut`; behind it more is sold, and on more days."""
    past = [line for line in lines if local_day(line[0]) <= cut]
    future = [(minute, item, units + 50, cents) for minute, item, units, cents in lines if local_day(minute) > cut]
    midnight = ((cut - START).days + 2) * 1440
    return past + future + [(minute, item, 9, 1) for item in "ab" for minute in range(midnight, DAYS * 1440, 3 * 1440)]


def write_log(folder: Path, cases: list) -> None:
    """Shops of three kinds for each case: `as` it is, `re`-delivered in other files and order, and with an`o`ther future."""
    files: dict[int, list[str]] = {number: [] for number in range(5)}
    for case, (lines, cut, seed) in enumerate(cases):
        files[0] += [text(f"as{case}", number, *line) for number, line in enumerate(lines)]
        shuffled = [text(f"re{case}", number, *line) for number, line in enumerate(lines)]
        draw = Random(seed)
        draw.shuffle(shuffled)
        for line in shuffled + draw.sample(shuffled, len(shuffled) // 3):
            files[draw.randrange(1, 5)].append(line)
        other = with_another_future(lines, START + timedelta(cut))
        files[1] += [text(f"ot{case}", number, *line) for number, line in enumerate(other)]
    for number, lines in files.items():
        write_lines(folder / f"{number}.csv", lines)


@pytest.fixture(scope="module")
def series_of(spark):
    """Sequences of a folder of logs, by place and item."""

    def make(folder: Path) -> dict[tuple[str, str], pd.Series]:
        source = {"columns": MOMENTS, "unique": ["order_id"], "path": "*.csv"}
        dataset = Dataset.model_validate(described(source, path=str(folder), timezone="Europe/Berlin"))
        checked = check_source(read_source(spark, dataset, "sales", None), dataset, "sales")
        sales = without_copies(checked, dataset.sources["sales"], "sales").rows.where("_ok")
        empty = Lake(spark, CONFIG).frame
        locations, calendar = empty([], "locations"), empty([], "calendar")
        days = build_location_days(lines_per_day(sales), locations, calendar, CONFIG.demand, LAST)
        tables = {"location_days": days, "category_prices": empty([], "category_prices")}
        lake = SimpleNamespace(read=tables.get, read_or_empty=lambda name: empty([], name))
        demand = build_demand(sales, locations, CONFIG.series, CONFIG.demand)
        axis = Axis("day", LAST, HORIZON)
        known = facts(SimpleNamespace(lake=lake, config=CONFIG), axis, demand)
        history, none = histories(demand, "day", 1000), empty([], "sequences")
        found = build_sequences(history, known, axis, CONFIG.demand, none).toPandas()
        return {(row["location_id"], row["item_id"]): row for _, row in found.iterrows()}

    return make


def equal(one, other) -> bool:
    """Arrays value by value, anything else as it is; what is unknown equals what is unknown."""
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one == other or (pd.isna(one) and pd.isna(other))


@settings(max_examples=2, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(cases=st.lists(CASE, min_size=12, max_size=12))
def test_sequences_of_any_log(series_of, cases):
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), cases)
        found = series_of(Path(folder))
    for case, (lines, cut, _) in enumerate(cases):
        truth: dict[str, Counter] = {item: Counter() for item in {line[1] for line in lines}}
        for minute, item, units, _ in lines:
            truth[item][local_day(minute)] += units
        for item, sold in truth.items():
            mine = found[f"as{case}", item]
            days = [mine["first_period"] + timedelta(n) for n in range(mine["length"])]
            assert (days[0], days[-1]) == (min(sold), LAST)
            assert mine["quantity"].tolist() == [sold[day] for day in days]  # each on the day of its shop
            again = found[f"re{case}", item]
            for column in mine.index.drop("location_id"):
                assert equal(mine[column], again[column]), (case, column)
            until = cut + 1 - (mine["first_period"] - START).days
            if until > 0:
                other = found[f"ot{case}", item]
                for column in SEQUENCES.with_role("past") + SEQUENCES.with_role("target"):
                    if mine[column] is not None:
                        assert equal(mine[column][:until], other[column][:until]), (case, column)
                for column in SEQUENCES.with_role("known future") + SEQUENCES.with_role("static"):
                    assert equal(mine[column], other[column]), (case, column)
