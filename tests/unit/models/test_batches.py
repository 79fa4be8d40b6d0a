"""Ragged sequences on one axis, against the obvious loop; nothing behind the origin is read."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from small_sequences import (
    HORIZON,
    LAST,
    ORIGIN,
    changed,
    small_calendar,
    small_inputs,
    small_rows,
    small_sequences,
    small_shared,
    small_spec,
    without,
)

from forecasting.models.batches import (
    ALWAYS,
    NEVER,
    PROMOTION_ANNOUNCED,
    encode_static,
    sequence_columns,
    to_block,
    vocabulary,
)
from forecasting.models.shared import PLAIN, event_names, sees_years
from forecasting.models.spec import STATIC, Inputs
from forecasting.periods import position
from forecasting.states import State


def block_of(batch, origin=ORIGIN, width=40):
    return to_block(batch, small_spec(), small_shared(), origin, width)


@pytest.mark.parametrize("origin", [ORIGIN, ORIGIN - 10])
def test_block_equals_the_obvious_loop(origin):
    batch, spec, width = small_sequences(), small_spec(), 40
    block = block_of(batch, origin, width)
    planned = (*spec.inputs.planned, *spec.inputs.kinds)
    for row, record in enumerate(batch.to_pylist()):
        record |= dict(record["promotion_kinds"])
        first = int(position(np.datetime64(record["first_period"]), "day"))
        for column in range(width + spec.horizon):
            index = origin - width + 1 + column - first
            begun = index >= 0
            if column < width:
                assert block.observed[row, column] == begun
                assert block.quantity[row, column] == (record["quantity"][index] if begun else 0)
                assert block.censored[row, column] == (begun and record["state"][index] == State.OUT_OF_STOCK)
                for place, name in enumerate(spec.inputs.past):
                    assert block.past[row, column, place] == pytest.approx(record[name][index] if begun else 0)
            for place, name in enumerate(planned):
                assert block.planned[row, column, place] == (record[name][index] if begun else 0)
            assert block.price[row, column] == (record["planned_price"][index] if begun else 0)


@pytest.mark.parametrize(
    "column", ["quantity", "price", "discount", "views", "observed", "state", "item_demand", "category_demand"]
)
def test_nothing_behind_the_origin_is_read(column):
    batch = without(small_sequences(), "planned_price")
    one, other = (block_of(b, ORIGIN - 10) for b in (batch, changed(batch, column, after=10, add=1.0)))
    for name in one.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(("field", "announced"), [("planned", PROMOTION_ANNOUNCED), ("price", "price_announced")])
def test_plans_announced_behind_the_origin_are_not_seen(field, announced):
    batch, width = small_sequences(shortest=50), 40
    lead = pa.array([np.full(len(values), 3) for values in batch["display"].to_pylist()], pa.list_(pa.int16()))
    late = batch.set_column(batch.schema.get_field_index(announced), announced, lead)
    all_of_them, seen = (getattr(block_of(b, ORIGIN, width), field) for b in (batch, late))
    np.testing.assert_array_equal(seen[:, : width + 3], all_of_them[:, : width + 3])
    assert all_of_them[:, width + 3 :].any() and not seen[:, width + 3 :].any()


def test_of_promotions_nobody_dates_the_lead_is_that_of_the_configuration():
    lead = block_of(small_sequences()).lead
    assert (lead == small_spec().promotion_lead).all() and small_spec().promotion_lead < ALWAYS


def test_a_price_is_as_last_seen_where_none_was_planned():
    batch = small_sequences(3)
    index = batch.schema.get_field_index("planned_price")
    plans = batch["planned_price"].to_pylist()
    batch = batch.set_column(index, "planned_price", pa.array([plans[0], None, plans[2]], batch["planned_price"].type))
    block = block_of(batch)
    assert block.price[1, 39] == batch["price"].to_pylist()[1][-1] and not block.price[1, 40:].any()
    assert block.price[2, 40:].all()
    assert (block.price_lead[1] == NEVER).all() and (block.price_lead[2, -HORIZON:] == ALWAYS).all()


def test_a_series_without_promotions_has_none_on_any_day():
    batch = small_sequences(3)
    for name in ("display", "mailer", PROMOTION_ANNOUNCED):
        values = batch[name].to_pylist()
        without = pa.array([values[0], None, values[2]], batch[name].type)
        batch = batch.set_column(batch.schema.get_field_index(name), name, without)
    planned, before = (block_of(b).planned[..., :2] for b in (batch, small_sequences(3)))
    assert not planned[1].any() and before[1].any()
    np.testing.assert_array_equal(planned[[0, 2]], before[[0, 2]])


def test_a_model_reads_the_columns_of_its_inputs():
    assert {"views", "display", "promotion_kinds"} <= set(sequence_columns(small_inputs()))
    assert not {"views", "carts", "display", "promotion_kinds"} & set(sequence_columns(Inputs()))


def test_static_values_not_seen_in_training_are_unknown():
    codes = encode_static(small_sequences(4), small_inputs())
    named = [STATIC.index(name) for name in STATIC if name not in ("item_id", "location_id")]
    assert codes[:, named].tolist() == [[1] * 8, [2] * 8, [0] * 8, [0] * 8]
    assert not codes[:, STATIC.index("item_id")].any()


def test_a_vocabulary_holds_what_enough_series_share_in_a_fixed_order():
    assert vocabulary({"rare": 2, "milk": 40, None: 90, "bread": 20}) == ("bread", "milk")


def test_calendar_past_its_edge_knows_no_promotion():
    calendars = small_shared().calendars
    end = calendars.first + len(calendars.reach)
    values, reach = calendars.window(end - 2, end + 2)
    assert reach.tolist() == [1, 1, 0, 0]
    np.testing.assert_array_equal(values[:, 2], values[:, 1])


def test_a_calendar_tells_the_distance_to_each_named_event():
    inputs, rows = small_inputs(), small_calendar()
    calendars = small_rows().of(inputs).calendars
    own = rows[rows["calendar"] == "US"].sort_values("period_start", ignore_index=True)
    start = own["period_start"].to_numpy("datetime64[D]")
    for name in ("easter", "Memorial Day"):
        at = np.flatnonzero(
            [name in (f"{e}; {h}").split("; ") for e, h in zip(own["events"], own["holiday_names"], strict=True)]
        )
        assert len(at) == 1
        columns = calendars.values[0, :, PLAIN + 4 * inputs.events.index(name) :][:, :4]
        days = (start - start[at[0]]).astype(int)
        expected = [days == 0, days == -1, (days <= -2) & (days >= -3), days == 1]
        np.testing.assert_array_equal(columns, np.stack(expected, axis=1))


def test_the_time_of_year_is_told_where_training_saw_two_of_each():
    rows, inputs = small_calendar(), small_inputs()
    told, kept = (small_rows().of(replace(inputs, yearly=yearly)).calendars for yearly in (True, False))
    assert told.values[..., 7:9].any() and not kept.values[..., 7:9].any()
    np.testing.assert_array_equal(np.delete(told.values, [7, 8], axis=-1), np.delete(kept.values, [7, 8], axis=-1))
    first = rows["period_start"].min()
    assert sees_years(rows, first + timedelta(730)) and not sees_years(rows, first + timedelta(729))


def test_events_that_training_has_not_lived_through_are_not_among_its_inputs():
    names = event_names(small_calendar(), LAST)
    assert "Memorial Day" in names and "Independence Day" not in names
