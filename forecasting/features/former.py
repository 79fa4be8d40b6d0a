"""What of `sequences` stays from one run to the next: the values of periods before the first one of which anything changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from importlib.resources import files
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.commits import History
from forecasting.config import Config, fingerprint
from forecasting.demand.aggregate import SERIES, period_start
from forecasting.errors import LakeError
from forecasting.lake import Lake, rows
from forecasting.periods import shift
from forecasting.states import State

#: Arrays that are summed up from rows of demand; the others are made anew by every run, since they cost little.
KEPT = ("quantity", "state", "price", "discount", "item_demand", "category_demand")


@dataclass(frozen=True)
class Basis:
    """What `sequences` and `category_prices` are made from, noted with their commits.

    rest: stands for all that a change of which may change every value: settings, code, groups of locations. last: last period of the
    data. demand, stock: of each month, something that changes with its rows. run: the one attempt that wrote both tables.
    """

    rest: str
    last: str
    demand: dict[str, str]
    stock: dict[str, str]
    run: str

    @classmethod
    def now(cls, lake: Lake, config: Config, last: date) -> Basis:
        """What they would be made from now."""
        groups = lake.read_or_empty("locations").select("location_id", "location_group")
        settings = config.fingerprint("series", "demand", "features")
        rest = fingerprint({"settings": settings, "code": _code(), "locations": _contents(groups, F.lit("all"))})
        written = lake.read("demand").select("month", "run_id", "data_version").distinct()
        stock = (
            lake.read_or_empty("stock").select(*SERIES, "counted_on", "on_hand").where(F.col("counted_on").isNotNull())
        )
        counted = F.trunc(period_start(config.series.grain, "counted_on"), "month")
        return cls(rest, str(last), _contents(written, F.col("month")), _contents(stock, counted), uuid4().hex)

    @classmethod
    def of(cls, table: History) -> Basis | None:
        """What a table was made from; None if it does not say so in these words."""
        try:
            note = table.note()
            return cls(**note) if note else None
        except (LakeError, TypeError, ValueError):  # taken back to a time; noted by other code; not a note of ours
            return None

    def note(self) -> dict[str, object]:
        """As values to write down."""
        return asdict(self)

    def first_change(self, now: Basis, grain: str) -> date | None:
        """First day of the first period that is not what it was; None if that may be any."""
        if self.rest != now.rest:
            return None
        changed = {
            month
            for before, after in ((self.demand, now.demand), (self.stock, now.stock))
            for month in before.keys() | after.keys()
            if before.get(month) != after.get(month)
        }
        # A week belongs to the month in which it begins: the first one that does.
        begun = (shift(date.fromisoformat(month) - timedelta(1), 1, grain) for month in changed)
        return min([shift(date.fromisoformat(min(self.last, now.last)), 1, grain), *begun])


def _code() -> str:
    """Fingerprint of the modules that make values of periods."""
    package = files("forecasting")
    modules = [package / "periods.py", package / "states.py"]
    modules += [module for name in ("features", "demand") for module in (package / name).iterdir()]
    return fingerprint(sorted(module.read_text("utf-8") for module in modules if module.name.endswith(".py")))


def _contents(table: DataFrame, part: Column) -> dict[str, str]:
    """Of each part of a table, say a month, the number of its rows and the sum of their hashes."""
    hashes = F.sum(F.xxhash64(*table.columns).cast("decimal(38,0)"))
    told = table.groupBy(part.alias("part")).agg(F.concat_ws(" ", F.count(F.lit(1)), hashes).alias("content"))
    return {str(row["part"]): row["content"] for row in rows(told)}


@dataclass(frozen=True)
class Kept:
    """What an earlier run wrote and what of it stays: rows of both tables with periods before the first day `since`, from which all
    is to be made anew; None: from the start, and nothing stays."""

    since: date | None
    sequences: DataFrame
    category_prices: DataFrame

    @classmethod
    def of(cls, lake: Lake, now: Basis, grain: str) -> Kept:
        """A period's values follow from the rows of demand up to it and from the categories of items."""
        looks = {name: lake.history(name) for name in ("sequences", "category_prices")}
        before, beside = (Basis.of(look) for look in looks.values())
        since = before.first_change(now, grain) if before and before == beside else None
        if since is not None:
            # Of one version, whoever writes meanwhile.
            sequences, prices = (lake.read(name, look.newest) for name, look in looks.items())
            if not _in_another_category(sequences, lake.read_or_empty("products")):
                ended = F.col("period_start") < F.lit(since)
                # A series that has not sold yet begins anew with every run: of its first period there is no record.
                sold = F.get("state", F.lit(0)) != State.MISSING.value
                begun = sequences.where((F.col("first_period") < F.lit(since)) & sold)
                return cls(since, begun, prices.where(ended))
        return cls(None, *(lake.frame([], name) for name in looks))


def _in_another_category(sequences: DataFrame, products: DataFrame) -> bool:
    """Whether any item is in another category than its series say."""
    now = products.select("item_id", F.col("category").alias("_now"))
    told = sequences.select("item_id", "category").distinct().join(now, on="item_id", how="left")
    return not told.where(~F.col("category").eqNullSafe(F.col("_now"))).isEmpty()


def with_former(series: DataFrame, former: DataFrame) -> DataFrame:
    """Each series with the arrays of its former row, as `former_NAME`."""
    arrays = (F.col(name).alias(f"former_{name}") for name in KEPT)
    # Spark thinks of an array as of one value, and would send them all through the driver.
    return series.join(former.select(*SERIES, *arrays).hint("merge"), on=list(SERIES), how="left")


class Former:
    """The arrays that series had, and how many of their values stay.

    Args:
        batch: columns of `with_former`, of n series.
        counts: leading periods of each series that stay, [n].
        lengths: its periods, [n].
    """

    def __init__(self, batch: pa.RecordBatch, counts: np.ndarray, lengths: np.ndarray) -> None:
        self._batch = batch
        self._owner = np.repeat(np.arange(len(counts)), counts)
        self._period = np.arange(len(self._owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._place = np.repeat(np.cumsum(lengths) - lengths, counts) + self._period

    def put(self, name: str, into: np.ndarray) -> np.ndarray:
        """`into`, arrays behind one another, with the values of `name` that stay; those of a null array do not."""
        array = self._batch[f"former_{name}"]
        there = self.given(name)[self._owner]
        begin = np.asarray(array.offsets)[self._owner[there]]
        into[self._place[there]] = array.values.to_numpy(zero_copy_only=False)[begin + self._period[there]]
        return into

    def given(self, name: str) -> np.ndarray:
        """Whether each series has an array of this name: bool, [n]."""
        return self._batch[f"former_{name}"].is_valid().to_numpy(zero_copy_only=False)
