"""What a model can learn from follows from the data."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from small_sequences import LAST, equal_sequences, small_config, small_rows

from forecasting.models.spec import GROUPS, PAST, PLANNED, SMALLEST_CLASS, STATIC
from forecasting.training import specification
from forecasting.training.specification import specify

LISTS = pa.list_(pa.float32())
BRANDS = {"few": SMALLEST_CLASS, "many": 3 * SMALLEST_CLASS, "most": 4 * SMALLEST_CLASS, "rare": SMALLEST_CLASS - 1}


@pytest.fixture
def specified(spark):
    """What a model of series of those brands, and of promotions of two kinds, is made of."""
    brands = [brand for brand, count in BRANDS.items() for _ in range(count)]
    batch = equal_sequences(np.ones((len(brands), 3)), date(2023, 6, 28), 10)
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {"brand": pa.array(brands)}
    columns |= {name: pa.nulls(len(brands), LISTS) for name in (*PAST, *PLANNED, *GROUPS) if name not in columns}
    columns["display"] = pa.array([[1.0] * 10] * len(brands), LISTS)
    kinds = [[("coupon", [1.0] * 10)] if brand == "most" else [] for brand in brands]
    columns["promotion_kinds"] = pa.array(kinds, pa.map_(pa.string(), LISTS))
    sequences = spark.createDataFrame(pa.table(columns)).cache()
    return lambda: specify(sequences, small_rows(), small_config(), LAST, "data").inputs


def test_what_no_series_has_is_no_input(specified):
    inputs = specified()
    assert (inputs.past, inputs.planned, inputs.kinds) == ((), ("display",), ("coupon",))
    assert set(inputs.vocabularies) == set(STATIC)


def test_a_value_is_told_apart_where_enough_series_have_it_and_of_too_many_the_most_frequent(specified, monkeypatch):
    assert specified().vocabularies["brand"] == ("few", "many", "most")
    monkeypatch.setattr(specification, "MOST_CLASSES", 2)
    assert specified().vocabularies["brand"] == ("many", "most")
