from datetime import date, timedelta

import holidays
import pytest

from forecasting.config import load_config
from forecasting.errors import ConfigError
from forecasting.features.calendar import FAR, calendar_features
from forecasting.periods import shift

US = load_config().features
EVENTS = [{"date": date(2017, 7, 4), "event": "Sale"}, {"date": date(2017, 8, 12), "event": "Fair"}]


@pytest.mark.parametrize(("grain", "count"), [("day", 400), ("week", 60), ("month", 14)])
def test_every_period_is_what_the_slow_loop_finds(grain, count):
    first, planned = date(2017, 6, 14), date(2017, 12, 20)
    names = {day: [name] for day, name in holidays.country_holidays("US", years=range(2016, 2020)).items()}
    for event in EVENTS:
        names.setdefault(event["date"], []).append(event["event"])
    frame = calendar_features(first, count, grain, US, EVENTS, planned)
    assert len(frame) == count
    for index, row in enumerate(frame.itertuples()):
        start, end = shift(first, index, grain), shift(first, index + 1, grain)
        inside = [start + timedelta(i) for i in range((end - start).days) if start + timedelta(i) in names]
        ahead = next((i for i in range(FAR) if start + timedelta(i) in names), FAR)
        behind = next((i for i in range(FAR) if start - timedelta(i) in names), FAR)
        assert row.period_start == start
        assert (row.weekday, row.day_of_month, row.month) == (start.isoweekday(), start.day, start.month)
        assert row.day_of_year == start.timetuple().tm_yday
        assert row.holidays == len(inside)
        assert row.holiday_names == ("; ".join(name for day in inside for name in names[day]) or None)
        assert (row.days_to_holiday, row.days_since_holiday) == (ahead, behind)
        assert row.promotions_known == (start <= planned)


def test_without_a_plan_no_promotion_is_known():
    assert not calendar_features(date(2017, 1, 1), 3, "day", US, [], None)["promotions_known"].any()


def test_a_region_has_holidays_of_its_own():
    berlin = load_config(settings=["features.country=DE", "features.region=BE"]).features
    frame = calendar_features(date(2024, 3, 8), 1, "day", berlin, [], None)
    assert frame["holidays"].tolist() == [1]


@pytest.mark.parametrize("setting", ["features.country=XX", "features.region=ZZ"])
def test_a_country_without_a_calendar_is_refused(setting):
    with pytest.raises(ConfigError, match=r"features\.country, features\.region"):
        calendar_features(date(2017, 1, 1), 1, "day", load_config(settings=[setting]).features, [], None)
