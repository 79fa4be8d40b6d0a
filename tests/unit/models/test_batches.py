"""Ragged sequences on one axis, against the obvious loop; nothing behind the origin is read."""

import numpy as np
import pyarrow as pa
import pytest
from small_sequences import ORIGIN, changed, small_axis, small_sequences, small_spec

from forecasting.models.batches import ANNOUNCED, encode_static, to_block, vocabulary
from forecasting.models.spec import KNOWN, PAST, STATIC
from forecasting.periods import position


@pytest.mark.parametrize("origin", [ORIGIN, ORIGIN - 10])
def test_block_equals_the_obvious_loop(origin):
    batch, spec, width = small_sequences(), small_spec(), 40
    block = to_block(batch, spec, origin, width)
    for row, record in enumerate(batch.to_pylist()):
        first = int(position(np.datetime64(record["first_period"]), "day"))
        for column in range(width + spec.horizon):
            index = origin - width + 1 + column - first
            begun = index >= 0
            if column < width:
                assert block.observed[row, column] == begun
                assert block.quantity[row, column] == (record["quantity"][index] if begun else 0)
                for place, name in enumerate(PAST):
                    assert block.past[row, column, place] == pytest.approx(record[name][index] if begun else 0)
            for place, name in enumerate(KNOWN):
                assert block.known[row, column, place] == (record[name][index] if begun else 0)


@pytest.mark.parametrize("column", ["quantity", *PAST])
def test_nothing_behind_the_origin_is_read(column):
    batch, spec = small_sequences(), small_spec()
    one, other = (to_block(b, spec, ORIGIN - 10, 40) for b in (batch, changed(batch, column, after=10)))
    for name in ("quantity", "observed", "past", "known", "static"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_promotions_announced_behind_the_origin_are_not_seen():
    batch, spec, width = small_sequences(), small_spec(), 40
    lead = pa.array([np.full(len(values), 3) for values in batch[KNOWN[0]].to_pylist()], pa.list_(pa.int16()))
    late = batch.set_column(batch.schema.get_field_index(ANNOUNCED), ANNOUNCED, lead)
    all_of_them, seen = (to_block(b, spec, ORIGIN, width).known for b in (batch, late))
    np.testing.assert_array_equal(seen[:, : width + 3], all_of_them[:, : width + 3])
    assert all_of_them[:, width + 3 :].any() and not seen[:, width + 3 :].any()


def test_a_series_without_promotions_has_none_on_any_day():
    batch = small_sequences(3)
    for name in (*KNOWN, ANNOUNCED):
        values = batch[name].to_pylist()
        without = pa.array([values[0], None, values[2]], batch[name].type)
        batch = batch.set_column(batch.schema.get_field_index(name), name, without)
    known, before = (to_block(b, small_spec(), ORIGIN, 40).known for b in (batch, small_sequences(3)))
    assert not known[1].any() and before[1].any()
    np.testing.assert_array_equal(known[[0, 2]], before[[0, 2]])


def test_static_values_not_seen_in_training_are_unknown():
    codes = encode_static(small_sequences(4), dict.fromkeys(STATIC, ("a", "b")))
    assert codes.tolist() == [[1] * 6, [2] * 6, [0] * 6, [0] * 6]


def test_a_vocabulary_holds_what_enough_series_share_in_a_fixed_order():
    assert vocabulary({"rare": 2, "milk": 40, None: 90, "bread": 20}) == ("bread", "milk")


def test_calendar_past_its_edge_knows_no_promotion():
    axis = small_axis()
    window = axis.window(axis.first + len(axis.values) - 2, axis.first + len(axis.values) + 2)
    assert window[:, -1].tolist()[2:] == [0, 0]
    np.testing.assert_array_equal(window[2, :-1], window[1, :-1])
