"""Why a series is hard to forecast, in words, by rules on its demand before the origin of a backtest and after it.

Every rule that holds speaks. Promotions and the spread of demand, which hold nearly always, are told where no other
does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forecasting.periods import shift
from forecasting.report.hard import Course
from forecasting.report.wording import day, periods, share, units

RECENT = 28  # periods before the origin that a window is held against
YOUNG = {"day": 56, "week": 52, "month": 12}  # periods: eight weeks; of longer ones a year
STEP = 2.0  # factor from which a level counts as another
FEW, PART = 3, 8  # periods, and one in so many of the window, that are no level but a peak, at most


def reasons(course: Course | None) -> list[str]:
    """Why the window could hardly be foreseen: one reason or more."""
    if course is None:
        return ["no history: the series is not in the data any more"]
    if not np.isfinite(course.window).any():
        return ["its demand could not be seen"]
    found = [words for rule in _RULES if (words := rule(course))]
    return found or [*filter(None, [promotions(course)]), spread(course)]


def new(course: Course) -> str | None:
    """Began less than YOUNG periods before the origin, or after it."""
    lived = len(course.before)
    if not lived:
        return "new: first sold after the forecast was made"
    return f"new: {_time(lived, course.grain)} of history" if lived < YOUNG[course.grain] else None


def stopped(course: Course) -> str | None:
    """Sold nothing at the end of the window, for half of it or more and longer than in any recent gap."""
    recent = _recent(course)
    if not _sold(recent).any() and not _sold(course.window).any():
        return None
    silent = _trailing_nothing(np.concatenate([course.before, course.window]))
    seen = np.isfinite(course.window[-silent:]).sum() if silent else 0  # a closed place sells nothing either
    if seen < len(course.window) / 2 or silent <= _longest_gap(recent):
        return None
    first = shift(course.origin, 1 + len(course.window) - silent, course.grain)
    return f"stopped selling on {day(first)}: out of stock or delisted"


def came_back(course: Course) -> str | None:
    """Sold in the window, and not in the RECENT periods before, but earlier."""
    quiet = _trailing_nothing(course.before)
    selling = np.flatnonzero(_sold(course.window))
    if not selling.size or not RECENT <= quiet < len(course.before):
        return None
    first = shift(course.origin, 1 + int(selling[0]), course.grain)
    return f"had sold nothing for {_time(quiet, course.grain)} and came back on {day(first)}"


def peaks(course: Course) -> str | None:
    """FEW periods or fewer hold more than half of the window's units."""
    if stopped(course):
        return None
    sold = np.sort(np.clip(np.nan_to_num(course.window), 0, None))[::-1]
    total = sold.sum()
    for few in range(1, 1 + max(1, min(FEW, len(sold) // PART))):
        held = sold[:few].sum()
        if 2 * held > total > 0 and np.count_nonzero(sold) > few:
            return f"{_number(few, course.grain)} {share(held / total)} of the units"
    return None


def level(course: Course) -> str | None:
    """Mean demand at least STEP times that of the RECENT periods before, or at most one STEP-th."""
    recent = _recent(course)
    if np.isfinite(recent).sum() < RECENT / 2 or any(rule(course) for rule in (stopped, came_back, peaks)):
        return None
    before, after = np.nanmean(recent), np.nanmean(course.window)
    if before <= 0 or after <= 0 or before / STEP < after < before * STEP:
        return None
    words = "rose" if after > before else "fell"
    return f"level {words} from {_rate(before)} to {_rate(after)} units a {course.grain}"


def promotions(course: Course) -> str | None:
    """Promoted within the window."""
    promoted, all_of_them = int(course.promoted.sum()), periods(len(course.promoted), course.grain)
    return f"promoted on {promoted} of these {all_of_them}" if promoted else None


def spread(course: Course) -> str:
    """How far demand of the window varies, and whether that is usual."""
    window, recent = course.window, _recent(course)
    if not _sold(window).any():
        return f"sold nothing in these {periods(len(window), course.grain)}"
    deviation = float(np.nanstd(window))
    usual = float(np.nanstd(recent)) if np.isfinite(recent).sum() >= RECENT / 2 else np.inf
    words = "demand varies more than usual" if deviation > usual else "demand varies"
    return (
        f"{words}: standard deviation of {_rate(deviation)} units around a mean of {_rate(float(np.nanmean(window)))}"
    )


_RULES: tuple[Callable[[Course], str | None], ...] = (new, stopped, came_back, peaks, level)


def _recent(course: Course) -> np.ndarray:
    return course.before[-RECENT:]


def _sold(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values) > 0


def _trailing_nothing(values: np.ndarray) -> int:
    """Periods after the last sale; all where there is none."""
    selling = np.flatnonzero(_sold(values))
    return len(values) - 1 - int(selling[-1]) if selling.size else len(values)


def _longest_gap(values: np.ndarray) -> int:
    """The longest run of periods without a sale."""
    edges = np.concatenate([[-1], np.flatnonzero(_sold(values)), [len(values)]])
    return int(np.diff(edges).max()) - 1


def _time(number: int, grain: str) -> str:
    """`10 days`, `3 weeks`, `20 months`."""
    return periods(number // 7, "week") if grain == "day" and number >= 14 else periods(number, grain)


def _number(few: int, grain: str) -> str:
    """`one day holds`, `three days hold`."""
    return f"one {grain} holds" if few == 1 else f"{('two', 'three')[few - 2]} {grain}s hold"


def _rate(value: float) -> str:
    """Units a period, with two digits where they are few."""
    return units(value) if abs(value) >= 1 else f"{value:.2g}"
