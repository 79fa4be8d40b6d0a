from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from small_shop import HEADER, described

from forecasting.ingest.check import check_source
from forecasting.ingest.dataset import Dataset
from forecasting.ingest.read import read_source


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., Dataset]:
    """Makes a dataset over `tmp_path/raw`; the arguments are those of `small_shop.described`."""
    return lambda *args, **settings: Dataset.model_validate(
        described(*args, **{"path": str(tmp_path / "raw")} | settings)
    )


@pytest.fixture
def checked(spark: SparkSession) -> Callable[..., DataFrame]:
    """Reads a source of a dataset, sales if none is named, and holds it against its rules."""
    return lambda dataset, name="sales", **more: check_source(
        read_source(spark, dataset, name, None), dataset, name, **more
    )


@pytest.fixture
def lines(spark: SparkSession) -> Callable[..., DataFrame]:
    """Makes raw sales lines of tuples: text columns, `source_file` among them."""

    def make(rows: Sequence[tuple], columns: str = HEADER) -> DataFrame:
        schema = ", ".join(f"{name} string" for name in (*columns.split(","), "source_file"))
        return spark.createDataFrame([(*row, "f") for row in rows], schema)

    return make


@pytest.fixture
def by_rule() -> Callable[[DataFrame], Counter]:
    """Counts checked rows by the rule that they broke; None counts those that broke none."""
    return lambda frame: Counter(row[0] for row in frame.select("_broken.rule").collect())
