import json
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.saleslog import LogSpec, generate

SPEC = LogSpec(20_000, items=20, locations=20, days=366)
COLUMNS = ["order_id", "item", "location", "sold_at", "quantity", "paid", "discount"]
SERIES = ["item_id", "location_id"]


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("log") / "log"
    generate(folder, SPEC)
    return folder


@pytest.fixture(scope="module")
def counts(log) -> dict:
    return json.loads((log / "truth" / "counts.json").read_text())


def read_lines(log: Path, *folders: str) -> pd.DataFrame:
    """Lines with the file they came in and their business day."""
    files = [file for folder in folders for file in sorted((log / folder).glob("*.parquet"))]
    lines = pd.concat([pq.read_table(file).to_pandas().assign(file=file.stem) for file in files], ignore_index=True)
    zones = pq.read_table(log / "locations.parquet").to_pandas().set_index("location")["timezone"].map(ZoneInfo)
    pairs = zip(lines["sold_at"], lines["location"].map(zones), strict=True)
    lines["day"] = [at.to_pydatetime().astimezone(zone).date() for at, zone in pairs]
    return lines.rename(columns={"item": "item_id", "location": "location_id"})


@pytest.fixture(scope="module")
def lines(log) -> pd.DataFrame:
    return read_lines(log, "sales", "last_day")


def split(lines: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Good lines, broken lines, and the number of duplicates."""
    named = lines.rename(columns={"item_id": "item", "location_id": "location"})
    again = named.duplicated(COLUMNS)
    broken = (lines["paid"] < 0) & (lines["quantity"] > 0)
    return lines[~again & ~broken], lines[broken], int(again.sum())


def truth(log: Path, name: str) -> pd.DataFrame:
    return pq.read_table(log / "truth" / f"{name}.parquet").to_pandas()


def days_of(spells: pd.DataFrame) -> set:
    """(item, location, day) of every day of every spell."""
    return {
        (row.item_id, row.location_id, row.first_day + timedelta(day))
        for row in spells.itertuples()
        for day in range(row.days)
    }


@pytest.mark.parametrize(
    ("folders", "totals"),
    [(("sales", "last_day"), "demand_totals"), (("sales",), "demand_totals_before_last_day")],
)
def test_the_totals_are_those_of_the_files(log, counts, folders, totals):
    lines = read_lines(log, *folders)
    good, broken, duplicates = split(lines)
    assert counts[totals] == {
        "lines": len(lines),
        "accepted": len(good),
        "duplicates": duplicates,
        "quarantined": len(broken),
        "groups": len(good[[*SERIES, "day"]].drop_duplicates()),
        "series": len(good[SERIES].drop_duplicates()),
        "net_units": good["quantity"].sum(),
        "net_revenue_cents": round(good["paid"].sum() * 100),
        "discount_cents": round(good["discount"].sum() * 100),
    }


def test_the_counts_add_up(counts, lines):
    good, broken, duplicates = split(lines)
    assert counts["lines"] == len(lines) == sum(counts[kind] for kind in ("sold", "returns", "duplicates", "broken"))
    assert (counts["sold"], counts["returns"]) == ((good["quantity"] > 0).sum(), (good["quantity"] < 0).sum())
    assert (counts["broken"], counts["duplicates"]) == (len(broken), duplicates)
    assert 0.9 * SPEC.lines < counts["sold"] < 1.1 * SPEC.lines
    assert (
        min(counts[name] for name in ("returns", "duplicates", "broken", "late", "stockouts", "outliers", "shifts")) > 0
    )


def test_a_duplicate_equals_its_line_and_all_others_have_their_own_order(lines, counts):
    assert (
        lines.groupby("order_id")[["item_id", "location_id", "sold_at", "quantity", "paid", "discount"]].nunique() == 1
    ).all(axis=None)
    assert lines["order_id"].nunique() == len(lines) - counts["duplicates"]


def test_types_and_money(log, lines):
    schema = pq.read_schema(log / "sales" / "2024-01.parquet")
    types = [pa.int64(), pa.string(), pa.string(), pa.timestamp("us", "UTC"), pa.int32(), pa.float64(), pa.float64()]
    assert (schema.names, schema.types) == (COLUMNS, types)
    for money in ("paid", "discount"):
        assert (lines[money] == lines[money].round(2)).all()


def test_nothing_sells_where_it_cannot(log, lines):
    sold = set(lines[[*SERIES, "day"]].itertuples(index=False, name=None))
    assert not sold & days_of(truth(log, "stockouts"))
    for name in ("closed", "lost"):
        days = set(truth(log, name)[["location_id", "day"]].itertuples(index=False, name=None))
        assert days
        assert not days & {(place, day) for _, place, day in sold}


def test_stock_is_known_for_half_of_the_items(log):
    stock, spells = pq.read_table(log / "stock.parquet").to_pandas(), truth(log, "stockouts")
    assert 0 < spells["snapshots"].sum() < len(spells)
    assert set(stock[[*SERIES, "day"]].itertuples(index=False, name=None)) == days_of(spells[spells["snapshots"]])
    assert (stock["on_hand"] == 0).all()


def test_spikes_stand_out(log, lines):
    demand = split(lines)[0].groupby([*SERIES, "day"])["quantity"].sum()
    for spike in truth(log, "outliers").itertuples():
        of_series = demand[spike.item_id, spike.location_id]
        assert of_series[spike.day] >= spike.quantity - 10  # returns of others
        assert spike.quantity > 10 * of_series.median()


def test_lines_lie_in_the_file_of_their_delivery(lines):
    early = lines[lines["file"] < lines["day"].astype(str).str[: len("2024-01")]]
    assert early.empty
    last = lines["file"] == "2024-12-31"
    assert (lines["day"][~last] < SPEC.last_day).all()
    assert set(lines["day"][last]) > {SPEC.last_day}  # late lines too
    assert lines["file"].nunique() == 13


@pytest.mark.parametrize(
    ("zone", "day", "offset"),
    [
        ("America/New_York", date(2024, 3, 9), 5),
        ("America/New_York", date(2024, 3, 10), 4),
        ("America/New_York", date(2024, 11, 3), 5),
        ("Europe/Berlin", date(2024, 3, 30), -1),
        ("Europe/Berlin", date(2024, 3, 31), -2),
        ("Europe/Berlin", date(2024, 10, 27), -1),
        ("America/Los_Angeles", date(2024, 11, 2), 7),
    ],
)
def test_shops_open_at_eight_of_their_own_clock(log, lines, zone, day, offset):
    zones = pq.read_table(log / "locations.parquet").to_pandas()
    there = lines[lines["location_id"].isin(zones.loc[zones["timezone"] == zone, "location"])]
    opening = datetime(day.year, day.month, day.day, 8, tzinfo=UTC) + timedelta(hours=offset)
    that_day = there.loc[there["day"] == day, "sold_at"]
    assert len(that_day)
    assert that_day.between(opening, opening + timedelta(hours=13)).all()


def test_the_same_seed_writes_the_same_files(log, tmp_path):
    def content(folder: Path) -> dict[str, str]:
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        return {file.relative_to(folder).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files}

    generate(tmp_path / "again", SPEC)
    generate(tmp_path / "other", LogSpec(20_000, items=20, locations=20, days=366, seed=18))
    assert content(tmp_path / "again") == content(log)
    assert content(tmp_path / "other")["sales/2024-01.parquet"] != content(log)["sales/2024-01.parquet"]
