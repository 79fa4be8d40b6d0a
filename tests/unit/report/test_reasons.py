from datetime import date

import numpy as np
import pytest

from forecasting.report import reasons
from forecasting.report.hard import Course
from forecasting.report.reasons import RECENT

ORIGIN = date(2017, 12, 3)
H = 28
REGULAR = np.tile([3.0, 2, 4, 3, 5, 9, 8], 20)  # 140 days


def course(before=REGULAR, window=REGULAR[:H], promoted=(), grain="day") -> Course:
    flags = np.zeros(len(window), bool)
    flags[list(promoted)] = True
    return Course(ORIGIN, grain, np.asarray(before, float), np.asarray(window, float), flags)


def changed(values: np.ndarray, places, value: float) -> np.ndarray:
    copy = np.array(values, float)
    copy[places] = value
    return copy


@pytest.mark.parametrize(
    ("lived", "grain", "words"),
    [
        (55, "day", "new: 7 weeks of history"),
        (56, "day", None),
        (13, "day", "new: 13 days of history"),
        (1, "day", "new: 1 day of history"),
        (0, "day", "new: first sold after the forecast was made"),
        (51, "week", "new: 51 weeks of history"),
        (52, "week", None),
        (11, "month", "new: 11 months of history"),
    ],
)
def test_new(lived, grain, words):
    assert reasons.new(course(before=np.ones(lived), grain=grain)) == words


@pytest.mark.parametrize(
    ("window", "first"),
    [
        (changed(REGULAR[:H], slice(14, None), 0), "18 December 2017"),
        (changed(REGULAR[:H], slice(13, None), 0), "17 December 2017"),
        (changed(REGULAR[:H], slice(0, None), 0), "4 December 2017"),
    ],
)
def test_stopped_from_the_day_after_the_last_sale(window, first):
    assert reasons.stopped(course(window=window)) == f"stopped selling on {first}: out of stock or delisted"


def test_a_stop_may_begin_before_the_window():
    found = reasons.stopped(course(before=changed(REGULAR, slice(-3, None), 0), window=np.zeros(H)))
    assert found == "stopped selling on 1 December 2017: out of stock or delisted"


@pytest.mark.parametrize(
    "calm",
    [
        course(),
        course(window=changed(REGULAR[:H], slice(15, None), 0)),  # less than half of the window
        course(window=changed(REGULAR[:H], slice(10, None), np.nan)),  # a closed place
        course(before=changed(np.zeros(140), [120], 1), window=changed(np.zeros(H), [8], 1)),  # gaps are usual
        course(before=np.zeros(140), window=np.zeros(H)),  # long gone
    ],
)
def test_what_is_no_stop(calm):
    assert reasons.stopped(calm) is None


def test_came_back_after_a_pause():
    quiet = changed(REGULAR, slice(-35, None), 0)
    window = changed(REGULAR[:H], slice(0, 4), 0)
    assert reasons.came_back(course(before=quiet, window=window)) == (
        "had sold nothing for 5 weeks and came back on 8 December 2017"
    )
    assert reasons.came_back(course(before=quiet, window=np.zeros(H))) is None
    assert reasons.came_back(course(before=changed(REGULAR, slice(1 - RECENT, None), 0))) is None
    assert reasons.came_back(course(before=np.zeros(140))) is None, "it never sold"


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (2.0, "level rose from 4.9 to 9.7 units a day"),
        (0.5, "level fell from 4.9 to 2.4 units a day"),
        (1.99, None),
        (0.51, None),
    ],
)
def test_level(factor, words):
    assert reasons.level(course(window=factor * REGULAR[:H])) == words


def test_level_is_not_told_of_a_stop_a_return_or_a_few_days():
    assert reasons.level(course(window=changed(REGULAR[:H], slice(4, None), 0))) is None
    assert reasons.level(course(before=changed(REGULAR, slice(-RECENT, None), 0))) is None
    assert reasons.level(course(before=np.ones(140), window=changed(np.ones(H), [3], 100))) is None
    assert reasons.level(course(before=np.ones(13), window=3 * np.ones(H))) is None, "too short to have a level"


@pytest.mark.parametrize(
    ("tall", "words"),
    [
        ({3: 30}, "one day holds 53 % of the units"),
        ({3: 20, 4: 20}, "two days hold 61 % of the units"),
        ({3: 15, 4: 15, 9: 15}, "three days hold 64 % of the units"),
        ({3: 9, 4: 9, 9: 9, 10: 9}, None),
    ],
)
def test_peaks(tall, words):
    assert reasons.peaks(course(window=changed(np.ones(H), list(tall), list(tall.values())))) == words


def test_peaks_need_other_sales_to_stand_out_from():
    assert reasons.peaks(course(before=np.zeros(140), window=changed(np.zeros(H), [27], 5))) is None
    assert reasons.peaks(course(window=np.zeros(H))) is None
    assert reasons.peaks(course(window=-np.ones(H))) is None, "returns alone"


def test_promotions_count_days():
    assert reasons.promotions(course(promoted=range(5, 12))) == "promoted on 7 of these 28 days"
    assert reasons.promotions(course()) is None


def test_spread_says_whether_it_is_usual():
    wide = changed(np.full(H, 5.0), slice(0, None, 2), 15)
    assert reasons.spread(course(before=np.tile([4.0, 6], 70), window=wide)) == (
        "demand varies more than usual: standard deviation of 5 units around a mean of 10"
    )
    assert reasons.spread(course(before=np.tile([0.0, 90], 70), window=wide)).startswith("demand varies: ")
    assert reasons.spread(course(before=np.zeros(140), window=np.zeros(H))) == "sold nothing in these 28 days"


def test_every_rule_that_holds_speaks_and_the_others_only_alone():
    young = course(before=REGULAR[:21], window=changed(REGULAR[:H], slice(7, None), 0), promoted=[1])
    assert [words.partition(" ")[0] for words in reasons.reasons(young)] == ["new:", "stopped"]
    plain = reasons.reasons(course(promoted=[1, 2]))
    assert [words.partition(" ")[0] for words in plain] == ["promoted", "demand"]


def test_a_series_of_which_nothing_is_known_has_a_reason_too():
    assert reasons.reasons(None) == ["no history: the series is not in the data any more"]
    assert reasons.reasons(course(window=np.full(H, np.nan))) == ["its demand could not be seen"]
