"""A small shop whose sales come as a stream of files, on real Delta tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from small_shop import COLUMNS, HEADER, write_dataset, write_lines

from forecasting.ingest.quality import checksums
from forecasting.lake import Lake
from forecasting.runtime import Figures, Run
from jobs import ingest

SALES = {
    "path": "raw",
    "arrives": "stream",
    "columns": COLUMNS | {"recorded_at": "timestamp_seconds(60 * recorded)"},
}


def line(order: str, day: int = 1, units: object = 1, recorded: int = 0) -> str:
    return f"{order},a,s1,2024-03-0{day},{units},2.5,{recorded}"


@dataclass
class Shop:
    """A shop that delivers files into a folder, and a lake that takes them in."""

    folder: Path
    make_run: Callable[..., Run]
    lake: Lake | None = None

    def describes(self, **sales) -> None:
        """Writes the dataset."""
        write_dataset(self.folder / "shop.yml", SALES | sales)

    def delivers(self, name: str, *lines: str) -> Path:
        """Puts a file into the folder, whole at once."""
        made = write_lines(self.folder / "making" / name, lines, f"{HEADER},recorded")
        (self.folder / "raw").mkdir(exist_ok=True)
        return made.rename(self.folder / "raw" / name)

    def ingests(self, *settings: str) -> Figures:
        """One run of the job."""
        return self.runs(ingest, settings=settings)

    def runs(self, *jobs: ModuleType, settings: Sequence[str] = ()) -> Figures:
        """One run of some jobs; the figures of the last."""
        own = (f"source.dataset={self.folder / 'shop.yml'}", f"source.path={self.folder}")
        run = self.make_run(*own, "quality.max_quarantined_share=0.9", *settings)
        self.lake = run.lake
        return [job.execute(run) for job in jobs][-1]

    def sold(self) -> list[tuple]:
        """Order, day and units of the sales table, in order."""
        rows = self.lake.read("sales").selectExpr("order_id", "day(sold_on)", "int(quantity)").collect()
        return sorted(tuple(row) for row in rows)

    def refused(self) -> Counter:
        """Quarantined orders and the rules that they broke."""
        order = "coalesce(get_json_object(record, '$.order'), get_json_object(record, '$.order_id'))"
        return Counter(tuple(row) for row in self.lake.read("quarantine").selectExpr(order, "rule").collect())

    def totals(self) -> dict[str, object]:
        """Sums over all deliveries."""
        rows = self.lake.read("data_quality").collect()
        found: dict[str, object] = {
            name: sum(row[f"rows_{name}"] for row in rows) for name in ("in", "accepted", "quarantined")
        }
        return found | {name: sum((Counter(row[name]) for row in rows), Counter()) for name in ("broken", "warnings")}

    def checksum(self) -> str:
        """That of the sales table as it stands; raises LakeError if no finished run noted it."""
        return checksums(self.lake.read("data_quality"), {"sales": self.lake.version("sales")})["sales"]

    def versions(self) -> dict[str, int]:
        return {name: self.lake.newest_version(name) for name in ("sales", "quarantine", "data_quality")}


class CutShort(Exception):
    """As if the machine were lost at this point."""
