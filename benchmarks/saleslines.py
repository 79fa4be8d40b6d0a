"""Draws the lines of a sales log, and notes what was done to them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

ZONES = ("America/New_York", "America/Chicago", "America/Los_Angeles", "Europe/Berlin")
SOLD, RETURN, DUPLICATE, BROKEN = range(4)
Columns = dict[str, np.ndarray]
Random = np.random.Generator


@dataclass(frozen=True)
class LogSpec:
    """Size and seed of a log. `lines` is the expected number of lines sold."""

    lines: int
    items: int = 4_000
    locations: int = 50
    days: int = 731
    first_day: date = date(2024, 1, 1)
    seed: int = 17

    @classmethod
    def of(cls, lines: int, seed: int = 17) -> LogSpec:
        """The usual shape: five hundred lines a series over two years."""
        return cls(lines, items=max(20, lines // 25_000), seed=seed)

    @property
    def series(self) -> int:
        """Items times locations."""
        return self.items * self.locations

    @property
    def calendar(self) -> np.ndarray:
        """Every day of the log, datetime64[D]."""
        return np.datetime64(self.first_day, "D") + np.arange(self.days)

    @property
    def last_day(self) -> date:
        return self.first_day + timedelta(self.days - 1)


@dataclass(frozen=True)
class World:
    """What all items share."""

    zone: np.ndarray  # [locations] index into ZONES
    to_utc: np.ndarray  # [zones, days] seconds to add to local time
    pace: np.ndarray  # [locations] rate relative to the mean location
    appeal: np.ndarray  # [items] rate relative to the mean item
    mean: float  # lines of a mean series on an open day
    closed: np.ndarray  # [locations, days]
    lost: np.ndarray  # [locations, days] open, but without records


@dataclass
class Truth:
    """What was done to the log."""

    counts: Counter = field(default_factory=Counter)
    totals: Counter = field(default_factory=Counter)
    before: Counter = field(default_factory=Counter)  # the same without what is delivered on the last day
    frames: dict[str, list[pd.DataFrame]] = field(
        default_factory=lambda: {"stockouts": [], "outliers": [], "shifts": []}
    )


def draw_world(spec: LogSpec) -> World:
    """Locations in four time zones, a fifth of them closed on Sundays; a tenth lose some weeks of records."""
    draw = np.random.default_rng(spec.seed)
    noon = pd.DatetimeIndex(spec.calendar) + pd.Timedelta(hours=12)  # clocks change at night
    to_utc = [[-ZoneInfo(zone).utcoffset(at.to_pydatetime()).total_seconds() for at in noon] for zone in ZONES]
    sunday_off = np.arange(spec.locations) % 5 == 0
    closed = ((noon.month == 12) & (noon.day == 25))[None] | (sunday_off[:, None] & (noon.weekday == 6)[None])
    lost = np.zeros_like(closed)
    for place in range(1, spec.locations, 10):
        begin = int(draw.integers(60, spec.days - 120))
        lost[place, begin : begin + int(draw.integers(21, 60))] = True
    pace, appeal = draw.gamma(6.0, size=spec.locations), draw.gamma(0.7, size=spec.items)
    open_days = (pace[:, None] * ~(closed | lost)).sum() / pace.mean()  # of all locations, weighted by their pace
    return World(
        zone=np.arange(spec.locations) % len(ZONES),
        to_utc=np.array(to_utc, np.int64),
        pace=pace / pace.mean(),
        appeal=appeal / appeal.mean(),
        mean=spec.lines / spec.items / open_days,
        closed=closed,
        lost=lost & ~closed,
    )


def draw_lines(items: np.ndarray, spec: LogSpec, world: World, truth: Truth) -> Columns:
    """Every line of some items at all locations, with `delivered`, the number of the day on which it is delivered."""
    draw = np.random.default_rng([spec.seed, items[0]])
    item, place = np.repeat(items, spec.locations), np.tile(np.arange(spec.locations), len(items))
    expected, rate = _expected(items, spec, world, draw)
    shifts = _shift(expected, rate, draw)
    silent, stockouts = _run_out(rate, spec.days, draw)
    silent |= (world.closed | world.lost)[place]
    lines, spikes = _sell(expected, rate, silent, draw)
    price = np.round(draw.lognormal(1.2, 0.6, len(items)) * 100).astype(np.int64)[lines["at"] // spec.locations]
    gross = lines["quantity"] * price
    lines["discount"] = np.where(draw.random(len(gross)) < 0.1, gross // 5, 0)
    lines["paid"] = gross - lines["discount"]
    lines["second"] = draw.integers(8 * 3600, 21 * 3600, len(gross))
    lines = _disturb(lines, len(spikes), silent, spec.days, draw)
    lines["order_id"] = _order_ids(lines, truth.counts["lines"])
    lines["delivered"] = np.minimum(lines["when"] + lines["late"], spec.days - 1)
    for name, frame in (("stockouts", stockouts), ("outliers", spikes), ("shifts", shifts)):
        at = frame.pop("at").to_numpy()
        frame.insert(0, "item_id", names("I", spec.items)[item[at]])
        frame.insert(1, "location_id", names("L", spec.locations)[place[at]])
        frame.insert(2, "first_day" if name == "stockouts" else "day", spec.calendar[frame.pop("when")])
        truth.frames[name].append(frame)
    _count(lines, len(item), spec.days, truth)
    midnight = spec.calendar.astype("datetime64[s]").astype(np.int64)[lines["when"]]
    lines["item"], lines["location"] = item[lines["at"]].astype(np.int32), place[lines["at"]].astype(np.int32)
    to_utc = world.to_utc[world.zone[lines["location"]], lines["when"]]
    lines["sold_at"] = (midnight + lines.pop("second") + to_utc) * 1_000_000
    return lines


def _expected(items: np.ndarray, spec: LogSpec, world: World, draw: Random) -> tuple[np.ndarray, np.ndarray]:
    """Lines to expect of each series on each day, [series, days], and the rate behind it, [series]."""
    rate = (world.appeal[items][:, None] * world.pace[None]).ravel() * world.mean
    day = np.arange(spec.days)[None]
    week = 1 + 0.35 * np.sin(2 * np.pi * (day + draw.integers(0, 7, (len(items), 1))) / 7)
    year = 1 + 0.3 * np.sin(2 * np.pi * (day / 365.25 + draw.random((len(items), 1))))
    return rate[:, None] * np.repeat(week * year, spec.locations, axis=0), rate


def _shift(expected: np.ndarray, rate: np.ndarray, draw: Random) -> pd.DataFrame:
    """Changes the level of some series for good, in place."""
    days = expected.shape[1]
    rows = np.flatnonzero((draw.random(len(rate)) < 0.03) & (rate > 0.3))
    since, factor = draw.integers(days // 4, 3 * days // 4, len(rows)), draw.choice([2.5, 0.4], len(rows))
    for row, first, times in zip(rows, since, factor, strict=True):
        expected[row, first:] *= times
    return pd.DataFrame({"at": rows, "when": since, "factor": factor, "rate": rate[rows]})


def _run_out(rate: np.ndarray, days: int, draw: Random) -> tuple[np.ndarray, pd.DataFrame]:
    """Days without stock, [series, days]."""
    out = np.zeros((len(rate), days), bool)
    rows = np.flatnonzero((draw.random(len(rate)) < 0.06) & (rate > 0.2))
    begin, length = draw.integers(60, days - 40, len(rows)), draw.integers(5, 29, len(rows))
    for row, first, count in zip(rows, begin, length, strict=True):
        out[row, first : first + count] = True
    return out, pd.DataFrame({"at": rows, "when": begin, "days": length, "rate": rate[rows]})


def _sell(expected: np.ndarray, rate: np.ndarray, silent: np.ndarray, draw: Random) -> tuple[Columns, pd.DataFrame]:
    """Lines sold, the spikes last."""
    chance = draw.standard_gamma(4.0, expected.shape, np.float32) / 4
    orders = draw.poisson(np.where(silent, 0.0, expected * chance))
    cells = np.repeat(np.arange(orders.size), orders.ravel())
    at, when = np.divmod(cells, orders.shape[1])
    days = orders.shape[1]
    spikes = np.flatnonzero((draw.random(len(rate)) < 0.05) & (rate > 0.5))
    spike_day = draw.integers(90, days - 30, len(spikes))
    selling = ~silent[spikes, spike_day]
    spikes, spike_day = spikes[selling], spike_day[selling]
    size = np.maximum(30, np.round(25 * expected[spikes, spike_day])).astype(np.int64)
    quantity = np.concatenate([draw.geometric(0.7, len(at)), size])
    lines = {"at": np.concatenate([at, spikes]), "when": np.concatenate([when, spike_day]), "quantity": quantity}
    return lines, pd.DataFrame({"at": spikes, "when": spike_day, "quantity": size})


def _disturb(lines: Columns, spikes: int, silent: np.ndarray, days: int, draw: Random) -> Columns:
    """Adds returns, late delivery, duplicates and broken lines to what was sold."""
    sold = len(lines["at"])
    back = np.flatnonzero(draw.random(sold - spikes) < 0.01)  # spikes stay sold
    returned = lines["when"][back] + draw.integers(1, 21, len(back))
    taken = (returned < days) & ~silent[lines["at"][back], np.minimum(returned, days - 1)]
    back, returned = back[taken], returned[taken]
    twice, broken = (np.flatnonzero(draw.random(sold) < share) for share in (0.005, 0.0005))
    source = np.concatenate([np.arange(sold), back, twice, broken])
    kind = np.repeat([SOLD, RETURN, DUPLICATE, BROKEN], [sold, len(back), len(twice), len(broken)]).astype(np.int8)
    late = np.where(draw.random(len(source)) < 0.01, draw.integers(1, 43, len(source)), 0)
    late[kind == DUPLICATE] = late[twice] + draw.choice([0, 31], len(twice))  # never before the line it repeats
    lines = {name: values[source] for name, values in lines.items()}
    lines["when"][kind == RETURN] = returned
    for name in ("quantity", "paid", "discount"):
        lines[name][kind == RETURN] *= -1
    lines["paid"][kind == BROKEN] = -100 - lines["paid"][kind == BROKEN]
    return lines | {"kind": kind, "late": late, "source": source}


def _order_ids(lines: Columns, used: int) -> np.ndarray:
    """Numbers of 40 bits without order; a duplicate has that of the line it repeats, every other line its own."""
    number = np.arange(used, used + len(lines["at"]), dtype=np.uint64)
    again = lines["kind"] == DUPLICATE
    number[again] = number[lines.pop("source")[again]]
    # Multiplication by an odd number is one to one in its lowest bits.
    return ((number * np.uint64(0x9E3779B97F4A7C15)) & np.uint64(2**40 - 1)).astype(np.int64)


def _count(lines: Columns, series: int, days: int, truth: Truth) -> None:
    """Adds the lines of a block to the counts that any reading of the log must find."""
    kind, last = lines["kind"], lines["delivered"] == days - 1
    for name, number in (("sold", SOLD), ("returns", RETURN), ("duplicates", DUPLICATE), ("broken", BROKEN)):
        truth.counts[name] += int((kind == number).sum())
    truth.counts["lines"] += len(kind)
    truth.counts["late"] += int((lines["delivered"] > lines["when"]).sum())
    for totals, among in ((truth.totals, np.ones(len(kind), bool)), (truth.before, ~last)):
        good = among & (kind <= RETURN)
        seen = np.zeros((series, days), bool)
        seen[lines["at"][good], lines["when"][good]] = True
        totals.update(
            lines=int(among.sum()),
            accepted=int(good.sum()),
            duplicates=int((among & (kind == DUPLICATE)).sum()),
            quarantined=int((among & (kind == BROKEN)).sum()),
            groups=int(seen.sum()),
            series=int(seen.any(axis=1).sum()),
            net_units=int(lines["quantity"][good].sum()),
            net_revenue_cents=int(lines["paid"][good].sum()),
            discount_cents=int(lines["discount"][good].sum()),
        )


def names(letter: str, count: int) -> np.ndarray:
    """Keys of items (I) or locations (L) by their number."""
    return np.array([f"{letter}{number:06d}" for number in range(count)], object)
