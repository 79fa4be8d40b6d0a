from datetime import date, timedelta
from itertools import pairwise
from time import perf_counter

import pytest

from forecasting.errors import ConfigError
from forecasting.features.retail_events import EVENTS, event_dates

ISLAMIC = {"ramadan", "eid_al_fitr", "eid_al_adha"}

KNOWN = [
    ("super_bowl", "US", "2011-02-06 2016-02-07 2021-02-07 2022-02-13 2024-02-11 2025-02-09 2026-02-08"),
    ("super_bowl", "US", "1999-01-31 2003-01-26 2004-02-01"),
    ("chinese_new_year", "CN", "2010-02-14 2020-01-25 2023-01-22 2024-02-10 2025-01-29 2026-02-17 2034-02-19"),
    ("valentines_day", "US", "2024-02-14"),
    ("ramadan", "SA", "2018-05-16 2023-03-23 2024-03-11 2025-03-01"),
    ("eid_al_fitr", "SA", "2019-06-04 2023-04-21 2024-04-10 2025-03-30"),
    ("eid_al_adha", "SA", "2019-08-11 2023-06-28 2024-06-16 2025-06-06"),
    ("dragon_boat", "CN", "2023-06-22 2024-06-10 2025-05-31 2026-06-19"),
    ("mid_autumn", "CN", "2023-09-29 2024-09-17 2025-10-06 2026-09-25"),
    ("diwali", "IN", "1999-11-07 2000-10-26 2006-10-21 2017-10-19 2023-11-12 2024-10-31 2025-10-20 2026-11-08"),
    ("easter", "US", "2011-04-24 2024-03-31 2025-04-20 2026-04-05 2038-04-25"),
    ("orthodox_easter", "GR", "2021-05-02 2024-05-05 2025-04-20 2026-04-12"),
    ("mothers_day", "US", "2024-05-12 2025-05-11"),
    ("mothers_day", "DE", "2024-05-12"),
    ("mothers_day", "GB", "2016-03-06 2024-03-10 2025-03-30 2026-03-15"),
    ("mothers_day", "FR", "2020-06-07 2023-06-04 2024-05-26 2025-05-25"),
    ("mothers_day", "ES", "2024-05-05 2025-05-04"),
    ("mothers_day", "SE", "2024-05-26"),
    ("mothers_day", "NO", "2024-02-11"),
    ("mothers_day", "AR", "2024-10-20"),
    ("mothers_day", "MX", "2024-05-10"),
    ("fathers_day", "US", "2024-06-16 2025-06-15"),
    ("fathers_day", "GB", "2024-06-16"),
    ("fathers_day", "DE", "2024-05-09 2025-05-29"),
    ("fathers_day", "AU", "2024-09-01 2025-09-07"),
    ("fathers_day", "BR", "2024-08-11"),
    ("fathers_day", "SE", "2024-11-10"),
    ("fathers_day", "IT", "2024-03-19"),
    ("six_eighteen", "CN", "2024-06-18"),
    ("halloween", "US", "2024-10-31"),
    ("singles_day", "CN", "2024-11-11"),
    ("thanksgiving", "US", "2018-11-22 2019-11-28 2024-11-28 2025-11-27"),
    ("thanksgiving", "CA", "2024-10-14 2025-10-13"),
    ("black_friday", "US", "2013-11-29 2018-11-23 2024-11-29 2025-11-28"),
    ("cyber_monday", "US", "2018-11-26 2019-12-02 2024-12-02 2025-12-01"),
    ("double_twelve", "CN", "2024-12-12"),
    ("christmas_eve", "DE", "2024-12-24"),
    ("christmas", "US", "2024-12-25"),
    ("boxing_day", "GB", "2024-12-26"),
    ("new_years_eve", "US", "2024-12-31"),
]


@pytest.mark.parametrize(("name", "country", "days"), KNOWN)
def test_an_event_falls_on_its_known_days(name, country, days):
    for day in map(date.fromisoformat, days.split()):
        found = event_dates(name, date(day.year, 1, 1), date(day.year, 12, 31), country)
        assert found == [day]


def test_every_event_has_a_known_day():
    assert {name for name, _, _ in KNOWN} == set(EVENTS)


@pytest.mark.parametrize("country", ["US", "GB", "FR", "CN", "IN", "SA", "ZZ"])
@pytest.mark.parametrize("name", EVENTS)
def test_every_year_holds_an_event_once_and_only_an_islamic_one_twice(name, country):
    for year in range(2010, 2036):
        found = event_dates(name, date(year, 1, 1), date(year, 12, 31), country)
        assert len(found) == 1 or (name in ISLAMIC and len(found) == 2)
        assert found == sorted(found)


@pytest.mark.parametrize("name", EVENTS)
def test_the_gaps_between_the_days_of_an_event_are_a_year_of_its_calendar(name):
    days = event_dates(name, date(1950, 1, 1), date(2080, 12, 31), "GB")
    gaps = {(later - earlier).days for earlier, later in pairwise(days)}
    allowed = range(353, 357) if name in ISLAMIC else range(347, 392)
    assert gaps <= set(allowed)


def test_years_in_which_an_islamic_feast_comes_twice():
    def of(name, year):
        return event_dates(name, date(year, 1, 1), date(year, 12, 31), "SA")

    assert of("ramadan", 2030) == [date(2030, 1, 5), date(2030, 12, 26)]
    assert of("eid_al_fitr", 2033) == [date(2033, 1, 2), date(2033, 12, 23)]
    assert of("eid_al_adha", 2006) == [date(2006, 1, 10), date(2006, 12, 31)]


def test_two_feasts_of_one_day_are_both_found():
    day = date(1995, 1, 31)
    assert [name for name in EVENTS if event_dates(name, day, day, "CN")] == ["chinese_new_year", "ramadan"]


def test_both_ends_of_the_span_count():
    christmas = date(2024, 12, 25)
    assert event_dates("christmas", christmas, christmas, "US") == [christmas]
    assert event_dates("christmas", christmas + timedelta(1), date(2025, 12, 24), "US") == []


def test_diwali_keeps_its_season_beyond_the_table():
    days = event_dates("diwali", date(1925, 1, 1), date(2100, 12, 31), "IN")
    assert len(days) == 176
    assert {(10, 15) <= (day.month, day.day) <= (11, 16) for day in days} == {True}


def test_an_unknown_event_is_refused_by_naming_the_known():
    with pytest.raises(ConfigError, match=r"features\.events: .*black_friday.*came 'black_fryday'"):
        event_dates("black_fryday", date(2024, 1, 1), date(2024, 12, 31), "US")


@pytest.mark.parametrize("span", [(date(1900, 1, 1), date(2000, 1, 1)), (date(2000, 1, 1), date(2101, 1, 1))])
def test_a_lunar_feast_is_refused_where_its_tables_end(span):
    with pytest.raises(ConfigError, match="ramadan is known from 1925 to 2100"):
        event_dates("ramadan", *span, "SA")


def test_thirty_years_of_every_event_take_no_noticeable_time():
    started = perf_counter()
    for name in EVENTS:
        event_dates(name, date(2000, 1, 1), date(2029, 12, 31), "US")
    assert perf_counter() - started < 2
