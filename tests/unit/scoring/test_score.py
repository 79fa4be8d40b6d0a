"""The UDF that scores: what it does with a series for which the network gives no number."""

import numpy as np
import pyarrow as pa
import pytest
from small_sequences import HORIZON, LAST, SMALL, small_rows, small_sequences, small_shared, small_spec

from forecasting.baselines.floors import recent_quantiles
from forecasting.models import artifact
from forecasting.models.batches import sequence_columns, to_block
from forecasting.models.build import build_model
from forecasting.periods import position, shift
from forecasting.scoring.score import forecast, within_reach


@pytest.fixture(scope="module")
def packed():
    return artifact.pack(small_spec(), build_model(small_spec(), small_shared(), seed=4).get_weights(), {})


def scored(spark, config, packed, batch):
    frame = spark.createDataFrame(pa.Table.from_batches([batch]))
    return forecast(frame, small_rows(), packed, config, LAST).toPandas().sort_values(["item_id", "horizon"])


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_one_series_without_a_number_gets_a_floor_and_harms_no_other(spark, make_config, packed, broken):
    config = make_config(*SMALL)
    whole = small_sequences(6, shortest=40)
    quantity = [np.array(units, np.float32) for units in whole["quantity"].to_pylist()]
    quantity[3][-2] = broken
    at = whole.schema.get_field_index("quantity")
    harmed = whole.set_column(at, whole.schema.field(at), pa.array(quantity, whole.schema.field(at).type))
    found, usual = scored(spark, config, packed, harmed), scored(spark, config, packed, whole)
    of_it = found["item_id"] == "item003"
    names = ["mean", *config.forecast.quantile_columns]
    assert usual["answered"].all() and found.loc[~of_it, "answered"].all() and not found.loc[of_it, "answered"].any()
    np.testing.assert_allclose(found.loc[~of_it, names], usual.loc[~of_it, names], rtol=1e-5, atol=1e-6)
    seen = quantity[3].astype(float)
    seen[~np.isfinite(seen)] = np.nan
    mean, quantiles = recent_quantiles(seen[None], 7, HORIZON, config.forecast.quantiles)
    np.testing.assert_allclose(found.loc[of_it, "mean"], mean[0], rtol=1e-5)
    np.testing.assert_allclose(found.loc[of_it, names[1:]], quantiles[0], rtol=1e-5)


@pytest.mark.parametrize("grain", ["day", "week", "month"])
@pytest.mark.parametrize("back", [0, 10])
def test_what_the_network_reads_is_kept_whole(spark, grain, back):
    spec, batch = small_spec(grain=grain), small_sequences()
    last = shift(LAST, 0, grain)
    begun = [shift(last, 1 - length, grain) for length in batch["length"].to_pylist()]
    at = batch.schema.get_field_index("first_period")
    batch = batch.set_column(at, batch.schema.field(at), pa.array(begun, pa.date32()))
    batch = batch.select(list(sequence_columns(spec.inputs)))
    origin = shift(last, -back, grain)
    cut = within_reach(spark.createDataFrame(pa.Table.from_batches([batch])), spec, origin).orderBy("item_id").toArrow()
    assert max(len(values) for values in cut["quantity"].to_pylist()) <= spec.context + spec.horizon
    number = int(position(np.datetime64(origin), grain))
    shared = small_shared()
    expected = to_block(batch, spec, shared, number, spec.context)
    found = to_block(cut.combine_chunks().to_batches()[0], spec, shared, number, spec.context)
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)
