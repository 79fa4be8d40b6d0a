"""What of `demand` must be computed again: nothing, the months whose sales lines changed, or all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date

from pyspark.sql import functions as F

from forecasting.config import Config, fingerprint
from forecasting.demand.aggregate import period_start
from forecasting.lake import Lake, rows

ALL = None


@dataclass(frozen=True)
class Basis:
    """What the table `demand` was made from, noted with its commit.

    `rest` stands for all that a change of which changes every month: settings, locations, units.
    """

    sales_version: int
    rest: str
    data_version: str

    @classmethod
    def now(cls, lake: Lake, checksums: Mapping[str, str], config: Config, data_version: str) -> Basis:
        """What it would be made from now."""
        companions = {name: checksums.get(name) for name in ("locations", "units")}
        rest = fingerprint({"companions": companions, "settings": config.fingerprint("series", "demand")})
        return cls(lake.version("sales"), rest, data_version)

    @classmethod
    def noted(cls, lake: Lake) -> Basis | None:
        """What it was made from; None if nothing is noted."""
        note = lake.note_of("demand")
        return cls(**note) if note else None

    def note(self) -> dict[str, object]:
        """As values to write down."""
        return asdict(self)


def stale_months(lake: Lake, grain: str, now: Basis) -> list[date] | None:
    """Months of `demand` whose sales lines are not those that it was made from; ALL if none of it can stay."""
    before = Basis.noted(lake)
    if before is None or before.rest != now.rest:
        return ALL
    if before.sales_version == now.sales_version:
        return [] if _all_say(lake, before, now.data_version) else _newest_month(lake)
    changes = lake.changed_since("sales", before.sales_version)
    if changes is None:
        return ALL
    months = changes.select(F.trunc(period_start(grain), "month").alias("month")).distinct()
    return sorted(row["month"] for row in rows(months))


def _all_say(lake: Lake, before: Basis, data_version: str) -> bool:
    """Whether both tables were last written for these data: a calendar, a plan or a setting may have changed alone."""
    days = lake.read("location_days").select("data_version").first() if lake.exists("location_days") else None
    return bool(days) and days["data_version"] == before.data_version == data_version


def _newest_month(lake: Lake) -> list[date] | None:
    """One month is enough to judge every day anew and to note the data; ALL if there is none."""
    newest = lake.read("demand").agg(F.max("month").alias("month")).first()["month"]
    return [newest] if newest else ALL
