"""What of `sequences` stays from one run to the next: the values of periods before the first one of which anything changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import forecasting
from forecasting.config import Config, fingerprint
from forecasting.demand.aggregate import SERIES, period_start
from forecasting.lake import Lake, rows
from forecasting.periods import shift

#: Arrays that are summed up from rows of demand; the others are made anew by every run, since they cost little.
KEPT = ("quantity", "state", "price", "discount", "item_demand", "category_demand")


@dataclass(frozen=True)
class Basis:
    """What `sequences` are made from, noted with their commit.

    rest: stands for all that a change of which may change every value: settings and code. last: last period of the data.
    demand, stock: of each month, something that changes with its rows.
    """

    rest: str
    last: str
    demand: dict[str, str]
    stock: dict[str, str]

    @classmethod
    def now(cls, lake: Lake, config: Config, last: date) -> Basis:
        """What they would be made from now."""
        rest = fingerprint(
            {"settings": config.fingerprint("series", "demand", "features"), "code": forecasting.__version__}
        )
        written = lake.read("demand").select("month", "run_id", "data_version").distinct()
        stock = (
            lake.read_or_empty("stock").select(*SERIES, "counted_on", "on_hand").where(F.col("counted_on").isNotNull())
        )
        counted = F.trunc(period_start(config.series.grain, "counted_on"), "month")
        return cls(rest, str(last), _by_month(written, F.col("month")), _by_month(stock, counted))

    @classmethod
    def noted(cls, lake: Lake) -> Basis | None:
        """What they were made from; None if nothing is noted."""
        note = lake.note_of("sequences") if lake.exists("sequences") else None
        return cls(**note) if note else None

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
        return min([shift(date.fromisoformat(self.last), 1, grain), *begun])


def _by_month(table: DataFrame, month: Column) -> dict[str, str]:
    """Number of rows of each month and the sum of their hashes."""
    hashes = F.sum(F.xxhash64(*table.columns).cast("decimal(38,0)"))
    told = table.groupBy(month.alias("month")).agg(F.concat_ws(" ", F.count(F.lit(1)), hashes).alias("content"))
    return {str(row["month"]): row["content"] for row in rows(told)}


def what_stays(lake: Lake, now: Basis, grain: str) -> tuple[DataFrame, date | None]:
    """Rows of `sequences` with periods that stay, and the first day from which all is to be made anew; None: from the start.

    A period's values follow from the rows of demand up to it and from the categories of items.
    """
    before = Basis.noted(lake)
    since = before.first_change(now, grain) if before else None
    if since is not None and lake.exists("category_prices"):
        former = lake.read("sequences")
        products = lake.read_or_empty("products").select("item_id", F.col("category").alias("_category"))
        told = former.select("item_id", "category").distinct().join(products, on="item_id", how="left")
        if told.where(~F.col("category").eqNullSafe(F.col("_category"))).isEmpty():
            return former.where(F.col("first_period") < F.lit(since)), since
    return lake.frame([], "sequences"), None


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
