import json
from dataclasses import replace
from datetime import date

import pytest

from forecasting.commits import Commit, History
from forecasting.features.former import Basis

BEFORE = Basis("settings", "2024-05-03", {"2024-03-01": "1 a", "2024-04-01": "1 b"}, {"2024-02-01": "3 c"}, "one")


@pytest.mark.parametrize(
    "now, by_day, by_week",
    [
        (BEFORE, date(2024, 5, 4), date(2024, 5, 6)),  # nothing but periods to come
        (replace(BEFORE, last="2024-05-04"), date(2024, 5, 4), date(2024, 5, 6)),
        (replace(BEFORE, demand=BEFORE.demand | {"2024-05-01": "1 d"}), date(2024, 5, 1), date(2024, 5, 6)),
        # April of 2024 begins on a Monday, March on a Friday.
        (replace(BEFORE, demand=BEFORE.demand | {"2024-04-01": "1 e"}), date(2024, 4, 1), date(2024, 4, 1)),
        (replace(BEFORE, demand={"2024-04-01": "1 b"}), date(2024, 3, 1), date(2024, 3, 4)),
        (replace(BEFORE, stock={}), date(2024, 2, 1), date(2024, 2, 5)),
        (replace(BEFORE, last="2024-04-30"), date(2024, 5, 1), date(2024, 5, 6)),  # days were taken out
        (replace(BEFORE, run="another"), date(2024, 5, 4), date(2024, 5, 6)),
        (replace(BEFORE, rest="other settings"), None, None),
    ],
)
def test_all_is_made_anew_from_the_first_period_of_the_first_month_that_changed(now, by_day, by_week):
    assert BEFORE.first_change(now, "day") == by_day
    assert BEFORE.first_change(now, "week") == by_week


def test_months_as_periods():
    before = replace(BEFORE, last="2024-04-01")
    assert before.first_change(before, "month") == date(2024, 5, 1)
    assert before.first_change(replace(before, stock={}), "month") == date(2024, 2, 1)


@pytest.mark.parametrize(
    "note, told",
    [(json.dumps(BEFORE.note()), BEFORE), (None, None), ("by hand", None), ('{"rest": "of other code"}', None)],
)
def test_a_table_says_what_it_was_made_from_or_nothing(note, told):
    assert Basis.of(History(lambda most: [Commit(3, "WRITE", {"mode": "Overwrite"}, note)])) == told


def test_a_table_that_was_taken_back_to_a_time_says_nothing():
    back = Commit(4, "RESTORE", {"timestamp": "2024-05-03"}, None)
    assert Basis.of(History(lambda most: [back, Commit(3, "WRITE", {}, json.dumps(BEFORE.note()))])) is None
