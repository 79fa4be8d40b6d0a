"""A sales log of any size whose truth is known: what was sold twice on paper, came late, is missing, ran out, or spiked.

    python -m benchmarks.saleslog FOLDER --lines 100000000

Items sell at every location, by the rate of both, the weekday, the season and chance. On top of that come, each with its
truth in `FOLDER/truth`: returns, lines delivered twice, lines delivered up to six weeks late, days on which a location is
closed, days whose records of a location are lost, days on which an item is out of stock (half of the items have stock
snapshots), single days with many times the usual demand, lasting changes of level, and lines that break the contract.
What is delivered on the very last day lies apart, in `FOLDER/last_day`, for a run that adds a day to a log already read.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

from benchmarks.saleslines import ZONES, Columns, LogSpec, Truth, World, draw_lines, draw_world, names

BLOCK = 4_000  # series drawn at once: some two million lines, a few hundred MB
ROW_GROUP = 1_000_000
SCHEMA = pa.schema(
    [
        ("order_id", pa.int64()),
        ("item", pa.dictionary(pa.int32(), pa.string())),  # plain strings in the file
        ("location", pa.dictionary(pa.int32(), pa.string())),
        ("sold_at", pa.timestamp("us", "UTC")),
        ("quantity", pa.int32()),
        ("paid", pa.float64()),
        ("discount", pa.float64()),
    ]
)


def generate(folder: Path, spec: LogSpec) -> dict:
    """Writes the log into a new folder; returns its counts.

    Files: `sales/YYYY-MM.parquet` by month of delivery, `last_day/YYYY-MM-DD.parquet`, `products.parquet`,
    `locations.parquet`, `stock.parquet`, `truth/*.parquet` and `truth/counts.json`. The same spec writes the same files.
    """
    for name in ("truth", "sales", "last_day"):
        (folder / name).mkdir(parents=True)
    world, truth, deliveries = draw_world(spec), Truth(), Deliveries(folder, spec)
    items_a_block = max(1, BLOCK // spec.locations)
    for first in track(range(0, spec.items, items_a_block), "Generating the log"):
        items = np.arange(first, min(first + items_a_block, spec.items))
        deliveries.add(draw_lines(items, spec, world, truth))
    deliveries.close()
    return write_companions(folder, spec, world, truth)


class Deliveries:
    """The files of sales, each with lines that wait until they fill a row group."""

    def __init__(self, folder: Path, spec: LogSpec) -> None:
        self.folder, self.spec = folder, spec
        self.month = spec.calendar.astype("datetime64[M]").astype(np.int64)
        self.month = (self.month - self.month[0]).astype(np.int16)
        self.month[-1] += 1  # the last day stands for itself
        self.names = [f"sales/{month}" for month in np.unique(spec.calendar.astype("datetime64[M]"))]
        self.names.append(f"last_day/{spec.last_day}")
        self.dictionaries = {"item": names("I", spec.items), "location": names("L", spec.locations)}
        self.waiting: dict[int, list[Columns]] = {}
        self.writers: dict[int, pq.ParquetWriter] = {}

    def add(self, lines: Columns) -> None:
        """Files each line by the day of its delivery."""
        file = self.month[lines["delivered"]]
        order = np.argsort(file, kind="stable")
        lines["quantity"] = lines["quantity"].astype(np.int32)
        for rows in np.split(order, np.flatnonzero(np.diff(file[order])) + 1):
            number = int(file[rows[0]])
            waiting = self.waiting.setdefault(number, [])
            waiting.append({name: lines[name][rows] for name in SCHEMA.names})
            if sum(len(chunk["item"]) for chunk in waiting) >= ROW_GROUP:
                self._write(number)

    def close(self) -> None:
        for number in sorted(self.waiting):
            self._write(number)
        for writer in self.writers.values():
            writer.close()

    def _write(self, number: int) -> None:
        """One row group of a file, its lines in no order."""
        waiting = self.waiting.pop(number)
        lines = {name: np.concatenate([chunk[name] for chunk in waiting]) for name in SCHEMA.names}
        order = np.random.default_rng([self.spec.seed, number, len(lines["item"])]).permutation(len(lines["item"]))
        columns = []
        for column in SCHEMA:
            values = lines.pop(column.name)[order]
            if column.name in self.dictionaries:
                columns.append(pa.DictionaryArray.from_arrays(values, self.dictionaries[column.name]))
            else:
                columns.append(pa.array(values / 100 if pa.types.is_floating(column.type) else values, column.type))
        if number not in self.writers:
            file = self.folder / f"{self.names[number]}.parquet"
            # Without the schema of Arrow all readers see strings, not dictionaries.
            self.writers[number] = pq.ParquetWriter(file, SCHEMA, compression="snappy", store_schema=False)
        self.writers[number].write_table(pa.table(columns, SCHEMA), row_group_size=len(order))


def write_companions(folder: Path, spec: LogSpec, world: World, truth: Truth) -> dict:
    """Writes products, locations, stock and the truth; returns its counts."""

    def write(name: str, frame: pd.DataFrame) -> None:
        days = {column: frame[column].dt.date for column in frame.columns if frame[column].dtype.kind == "M"}
        pq.write_table(pa.Table.from_pandas(frame.assign(**days), preserve_index=False), folder / f"{name}.parquet")

    items, shops = names("I", spec.items), names("L", spec.locations)
    write("products", pd.DataFrame({"item": items, "category": [f"C{item % 40:02d}" for item in range(spec.items)]}))
    write("locations", pd.DataFrame({"location": shops, "timezone": np.array(ZONES)[world.zone]}))
    counts = dict(truth.counts) | {"last_day_lines": truth.totals["lines"] - truth.before["lines"]}
    for name, frames in truth.frames.items():
        frame = pd.concat(frames, ignore_index=True)
        if name == "stockouts":
            frame["snapshots"] = frame["item_id"].str[1:].astype(int) % 2 == 0
            spells = frame[frame["snapshots"]]
            stock = spells.loc[spells.index.repeat(spells["days"]), ["item_id", "location_id", "first_day"]]
            stock = stock.rename(columns={"first_day": "day"})
            stock["day"] += pd.to_timedelta(stock.groupby(level=0).cumcount(), unit="D")
            write("stock", stock.assign(on_hand=0.0))
        write(f"truth/{name}", frame)
        counts[name] = len(frame)
    for name in ("closed", "lost"):
        shop, day = np.nonzero(getattr(world, name))
        write(f"truth/{name}", pd.DataFrame({"location_id": shops[shop], "day": spec.calendar[day]}))
        counts[f"{name}_days"] = len(shop)
    counts |= {"items": spec.items, "locations": spec.locations, "days": spec.days, "last_day": str(spec.last_day)}
    counts |= {"demand_totals": dict(truth.totals), "demand_totals_before_last_day": dict(truth.before)}
    (folder / "truth" / "counts.json").write_text(json.dumps(counts, indent=1))
    return counts


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args(argv)
    print(json.dumps(generate(options.folder, LogSpec.of(options.lines, options.seed)), indent=1))


if __name__ == "__main__":
    main()
