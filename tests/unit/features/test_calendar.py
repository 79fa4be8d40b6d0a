from datetime import date, timedelta
from time import perf_counter

import holidays
import pytest

from forecasting.errors import ConfigError
from forecasting.features.calendar import FAR, calendar_features
from forecasting.features.retail_events import EVENTS, event_dates
from forecasting.periods import shift

OWN = [
    {"date": date(2017, 8, 12), "event": "Fair", "location_id": "S1"},
    {"date": date(2017, 7, 4), "event": "Sale"},
    {"date": date(2018, 1, 2), "event": "Sale"},
    {"date": date(2031, 1, 1), "event": "Jubilee"},
    {"date": date(2017, 11, 1), "event": "black_friday"},
]


def features_of(first, count, grain="day", country="US", region=None, events=(), own=(), until=None):
    return calendar_features(first, count, grain, country, region, events, own, until)


@pytest.mark.parametrize(("grain", "count"), [("day", 400), ("week", 60), ("month", 14)])
def test_every_period_is_what_the_slow_loop_finds(grain, count):
    first, planned = date(2017, 6, 14), date(2017, 12, 20)
    names = {day: [name] for day, name in holidays.country_holidays("US", years=range(2016, 2020)).items()}
    retail = {name: event_dates(name, date(2016, 1, 1), date(2019, 12, 31), "US") for name in EVENTS}
    dates = {name: set(found) for name, found in retail.items()} | {"Fair": set(), "Sale": set(), "Jubilee": set()}
    for event in OWN:
        names.setdefault(event["date"], []).append(event["event"])
        dates[event["event"]].add(event["date"])
    frame = features_of(first, count, grain, events=EVENTS, own=iter(OWN), until=planned)
    assert len(frame) == count
    for index, row in enumerate(frame.itertuples()):
        start, end = shift(first, index, grain), shift(first, index + 1, grain)
        days = [start + timedelta(i) for i in range((end - start).days)]
        inside = [day for day in days if day in names]
        assert row.period_start == start
        assert (row.weekday, row.day_of_month, row.month) == (start.isoweekday(), start.day, start.month)
        assert row.day_of_year == start.timetuple().tm_yday
        assert row.holidays == len(inside)
        assert row.holiday_names == ("; ".join(name for day in inside for name in names[day]) or None)
        assert (row.days_to_holiday, row.days_since_holiday) == distances(start, names)
        assert row.promotions_known == (start <= planned)
        assert row.events == ("; ".join(name for day in days for name in EVENTS if day in retail[name]) or None)
        for name, found in dates.items():
            expected = (0, 0) if found.intersection(days) else distances(start, found)
            assert (row.days_to[name], row.days_since[name]) == expected
        assert set(row.days_to) == set(row.days_since) == set(dates)


def distances(start, days):
    ahead = next((i for i in range(FAR) if start + timedelta(i) in days), FAR)
    behind = next((i for i in range(FAR) if start - timedelta(i) in days), FAR)
    return ahead, behind


def test_a_moving_feast_is_seen_across_the_turn_of_the_year():
    frame = features_of(date(2024, 12, 30), 4, country="CN", events=["chinese_new_year", "new_years_eve"])
    assert [row["chinese_new_year"] for row in frame["days_to"]] == [30, 29, 28, 27]
    assert [row["new_years_eve"] for row in frame["days_to"]] == [1, 0, FAR, FAR]
    assert [row["new_years_eve"] for row in frame["days_since"]] == [FAR, 0, 1, 2]
    assert frame["events"].tolist() == [None, "new_years_eve", None, None]


def test_a_week_that_holds_an_event_is_neither_before_nor_after_it():
    frame = features_of(date(2024, 11, 18), 3, "week", events=["thanksgiving", "black_friday"])
    assert [row["black_friday"] for row in frame["days_to"]] == [11, 0, FAR]
    assert [row["black_friday"] for row in frame["days_since"]] == [FAR, 0, 3]
    assert frame["events"].tolist() == [None, "thanksgiving; black_friday", None]


def test_distances_are_plain_numbers_by_name():
    row = features_of(date(2024, 1, 1), 1, events=["christmas"])["days_since"].iloc[0]
    assert row == {"christmas": 7}
    assert type(row) is dict and type(row["christmas"]) is int


def test_without_events_the_maps_are_empty():
    frame = features_of(date(2024, 1, 1), 2)
    assert frame["days_to"].tolist() == frame["days_since"].tolist() == [{}, {}]
    assert frame["events"].tolist() == [None, None]


def test_an_event_of_the_country_falls_on_the_day_of_the_country():
    def mothers_day(country):
        frame = features_of(date(2024, 1, 1), 366, country=country, events=["mothers_day"])
        return frame.loc[frame["events"] == "mothers_day", "period_start"].tolist()

    assert mothers_day("GB") == [date(2024, 3, 10)]
    assert mothers_day("US") == [date(2024, 5, 12)]


def test_without_a_plan_no_promotion_is_known():
    assert not features_of(date(2017, 1, 1), 3)["promotions_known"].any()


def test_a_region_has_holidays_of_its_own():
    assert features_of(date(2024, 3, 8), 1, country="DE", region="BE")["holidays"].tolist() == [1]
    assert features_of(date(2024, 3, 8), 1, country="DE")["holidays"].tolist() == [0]


@pytest.mark.parametrize(("country", "region"), [("XX", None), ("US", "ZZ")])
def test_a_country_without_a_calendar_is_refused(country, region):
    with pytest.raises(ConfigError, match=r"features\.country, features\.region"):
        features_of(date(2017, 1, 1), 1, country=country, region=region)


def test_an_unknown_event_is_refused():
    with pytest.raises(ConfigError, match=r"features\.events: .*came 'black_fryday'"):
        features_of(date(2017, 1, 1), 1, events=["black_fryday"])


def test_thirty_years_of_days_take_no_noticeable_time():
    started = perf_counter()
    features_of(date(2000, 1, 1), 30 * 365, events=EVENTS, own=OWN)
    assert perf_counter() - started < 3
