"""On which days the great retail events of a country fall: by rule for any year, lunar feasts by calendar tables.

Sources: fixed days, nth weekdays and distances from Easter are computed (`dateutil`). Chinese and Islamic feasts, and
Diwali from 2001 to 2035, come from the tables of `holidays`. The Islamic ones follow the Umm al-Qura calendar; where
the crescent must be sighted (South and South-East Asia) the feast is often one day later. The rule of an event is
applied to every year, also to those before anyone kept it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from math import ceil, floor

from dateutil.easter import EASTER_ORTHODOX, EASTER_WESTERN, easter
from dateutil.relativedelta import MO, SU, TH, relativedelta, weekday
from holidays import HolidayBase
from holidays.groups import ChineseCalendarHolidays, HinduCalendarHolidays, IslamicHolidays

from forecasting.errors import ConfigError

Rule = Callable[[int], date]


def _on(month: int, day: int) -> Rule:
    return lambda year: date(year, month, day)


def _nth(month: int, which: weekday, plus: int = 0) -> Rule:
    """The day `plus` days after a weekday of the month: TH(4) is the fourth Thursday, SU(-1) the last Sunday."""
    found = relativedelta(month=month, day=1 if which.n > 0 else 31, weekday=which)
    return lambda year: date(year, 1, 1) + found + timedelta(plus)


def _from_easter(days: int, method: int = EASTER_WESTERN) -> Rule:
    return lambda year: easter(year, method) + timedelta(days)


def _super_bowl(year: int) -> date:
    """The season grew by a week in 2003 and again in 2021. Not told by the rule: 2002, put off to 3 February."""
    if year >= 2022:
        return _nth(2, SU(2))(year)
    return _nth(2, SU(1))(year) if year >= 2004 else _nth(1, SU(-1))(year)


def _mothers_day_of_france(year: int) -> date:
    """The last Sunday of May, unless that is Pentecost."""
    last = _nth(5, SU(-1))(year)
    return last + timedelta(7) if last == _from_easter(49)(year) else last


def _by_country(default: Rule, *exceptions: tuple[Rule, str]) -> tuple[Rule, dict[str, Rule]]:
    return default, {country: rule for rule, countries in exceptions for country in countries.split()}


#: Events of which the day is the same in every country.
_EVERYWHERE: dict[str, Rule] = {
    "super_bowl": _super_bowl,
    "valentines_day": _on(2, 14),
    "easter": _from_easter(0),
    "orthodox_easter": _from_easter(0, EASTER_ORTHODOX),
    "six_eighteen": _on(6, 18),
    "halloween": _on(10, 31),
    "singles_day": _on(11, 11),
    "black_friday": _nth(11, TH(4), plus=1),
    "cyber_monday": _nth(11, TH(4), plus=4),
    "double_twelve": _on(12, 12),
    "christmas_eve": _on(12, 24),
    "christmas": _on(12, 25),
    "boxing_day": _on(12, 26),
    "new_years_eve": _on(12, 31),
}
#: The rule of most countries, and the countries that keep another day.
_NATIONAL: dict[str, tuple[Rule, dict[str, Rule]]] = {
    "mothers_day": _by_country(
        _nth(5, SU(2)),
        (_from_easter(-21), "GB UK IE"),  # Mothering Sunday, the fourth in Lent
        (_mothers_day_of_france, "FR"),
        (_nth(5, SU(1)), "ES PT HU LT RO"),
        (_nth(5, SU(-1)), "SE DO"),
        (_nth(6, SU(2)), "LU"),
        (_nth(2, SU(2)), "NO"),
        (_nth(10, SU(3)), "AR"),
        (_nth(11, SU(-1)), "RU"),
        (_on(3, 8), "BG"),
        (_on(3, 21), "AE BH EG IQ JO KW LB OM QA SA SY"),
        (_on(5, 8), "KR"),
        (_on(5, 10), "MX GT SV"),
        (_on(5, 26), "PL"),
        (_on(5, 27), "BO"),
        (_on(8, 12), "TH"),
        (_on(8, 15), "CR"),
        (_on(12, 8), "PA"),
        (_on(12, 22), "ID"),
    ),
    "fathers_day": _by_country(
        _nth(6, SU(3)),
        (_from_easter(39), "DE"),  # Ascension Day
        (_nth(5, SU(2)), "RO"),
        (_nth(6, SU(1)), "CH LT"),
        (_nth(6, SU(2)), "AT BE"),
        (_nth(7, SU(-1)), "DO"),
        (_nth(8, SU(2)), "BR"),
        (_nth(9, SU(1)), "AU NZ"),
        (_nth(9, SU(2)), "LV"),
        (_nth(10, SU(1)), "LU"),
        (_nth(10, SU(3)), "RU"),
        (_nth(11, SU(2)), "EE FI IS NO SE"),
        (_on(3, 19), "BO ES HN HR IT PT"),
        (_on(5, 8), "KR"),
        (_on(6, 5), "DK"),
        (_on(6, 17), "GT SV"),
        (_on(6, 21), "AE EG JO LB SY"),
        (_on(6, 23), "PL"),
        (_on(8, 8), "TW"),
        (_on(11, 12), "ID"),
        (_on(12, 5), "TH"),
    ),
    "thanksgiving": _by_country(_nth(11, TH(4)), (_nth(10, MO(2)), "CA")),
}

_LUNAR = (
    "chinese_new_year",
    "ramadan",
    "eid_al_fitr",
    "eid_al_adha",
    "dragon_boat",
    "mid_autumn",
    "diwali",
)
_LUNAR_YEARS = (1925, 2100)  # what the tables of all the lunar feasts have in common
_DIWALI_YEARS = (2001, 2035)
_METON = 6939.6886  # days in 235 lunations, which is 19 years but for two hours

#: Every event known, by name.
EVENTS: tuple[str, ...] = (*_EVERYWHERE, *_NATIONAL, *_LUNAR)


def event_dates(name: str, first: date, last: date, country: str) -> list[date]:
    """Days of an event from `first` to `last`, both included, in order.

    Args:
        name: one of EVENTS.
        country: two-letter code; one that the rules do not name keeps the day of most countries.

    Returns:
        One day a year; the Islamic feasts come round in 354 days, so that some years hold two.

    Raises:
        ConfigError: the event is unknown, or a lunar feast is asked for in years that its tables do not cover.
    """
    if name not in EVENTS:
        raise ConfigError(f"features.events: expected names among {', '.join(EVENTS)}, came {name!r}")
    years = range(first.year, last.year + 1)
    if name in _LUNAR:
        if not _LUNAR_YEARS[0] <= first.year <= last.year <= _LUNAR_YEARS[1]:
            raise ConfigError(
                f"features.events: {name} is known from {_LUNAR_YEARS[0]} to {_LUNAR_YEARS[1]}, needed from "
                f"{first} to {last}: check the dates of the data or leave the event out"
            )
        found = [day for year in years for day in _lunar_feasts(year)[name]]
    else:
        rule = _rule(name, country)
        found = [rule(year) for year in years]
    return [day for day in found if first <= day <= last]


def _rule(name: str, country: str) -> Rule:
    if name in _EVERYWHERE:
        return _EVERYWHERE[name]
    default, exceptions = _NATIONAL[name]
    return exceptions.get(country, default)


@cache
def _lunar_feasts(year: int) -> dict[str, list[date]]:
    calendar = _LunarCalendar(years=year)
    found = {name: [day for day in sorted(calendar) if name in calendar.get_list(day)] for name in _LUNAR}
    if not found["diwali"]:
        found["diwali"] = [_distant_diwali(year)]
    return found


def _distant_diwali(year: int) -> date:
    """Diwali beyond its table, give or take a day or two: moon and year meet again after 19 years (the cycle of Meton).

    The general table that `holidays` holds for other years is no help: it runs a month late after every leap month.
    """
    earliest, latest = _DIWALI_YEARS
    cycles = ceil((year - latest) / 19) if year > latest else floor((year - earliest) / 19)
    known = _lunar_feasts(year - 19 * cycles)["diwali"][0]
    return known + timedelta(round(cycles * _METON))


class _LunarCalendar(HolidayBase, ChineseCalendarHolidays, HinduCalendarHolidays, IslamicHolidays):
    """The lunar feasts as if they were the holidays of a country of their own: no substitute days, no national law."""

    country = "lunar"

    def __init__(self, *args, **kwargs) -> None:
        ChineseCalendarHolidays.__init__(self)
        HinduCalendarHolidays.__init__(self)
        IslamicHolidays.__init__(self, show_estimated=False)
        super().__init__(*args, **kwargs)

    def _populate_public_holidays(self) -> None:
        self._add_chinese_new_years_day("chinese_new_year")
        self._add_dragon_boat_festival("dragon_boat")
        self._add_mid_autumn_festival("mid_autumn")
        self._add_diwali_india("diwali")
        self._add_ramadan_beginning_day("ramadan")
        self._add_eid_al_fitr_day("eid_al_fitr")
        self._add_eid_al_adha_day("eid_al_adha")
