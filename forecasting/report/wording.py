"""Numbers, dates and sentences as a planner reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from forecasting.report.contents import LIKELY, Contents
from forecasting.report.training import Training

COVERAGE = "coverage"  # of the widest interval


@dataclass(frozen=True)
class Metric:
    """What the page calls a metric and says of it."""

    key: str
    symbol: str
    name: str
    meaning: str
    lower_is_better: bool = True


METRICS = (
    Metric("wql", "WQL", "Weighted quantile loss", "Error of the whole range of outcomes, as a share of demand."),
    Metric("wape", "WAPE", "Absolute error", "Error of the middle forecast (median), as a share of demand."),
    Metric("mase", "MASE", "Scaled error", "Error of the median, in typical {season} changes of each series."),
    Metric("rmse", "RMSE", "Root mean squared error", "Error of expected demand in units; large misses weigh most."),
    Metric("mse", "MSE", "Mean squared error", "The same before the root is taken."),
    Metric(
        "bias", "", "Bias", "Expected less actual demand, as a share of demand; best near 0.", lower_is_better=False
    ),
    Metric(
        COVERAGE,
        "",
        "Coverage",
        "Share of actual values from the {low} to the {high} quantile; wanted: {share} or more.",
        False,
    ),
)
_SHARES = {"bias": "{:+.1%}", COVERAGE: "{:.1%}"}
_SPELT = {name.lower(): name for name in ("LSTM", "GRU", "RNN", "ETS", "SBA", "LightGBM")}
_SEASON = {"day": "week-on-week", "week": "year-on-year", "month": "year-on-year"}


def count(value: float) -> str:
    """`1,234`."""
    return f"{value:,.0f}"


def units(value: float) -> str:
    """Units with a decimal where they are few: `0`, `0.4`, `1,234`."""
    return f"{value:,.1f}" if 0 < abs(value) < 10 and abs(value - round(value)) >= 0.05 else f"{value:,.0f}"


def share(value: float) -> str:
    """`12 %`; where it matters, `0.4 %` or `99.6 %`; not 100 % for less than all but a trace."""
    percent = 100.0 if 1 - 1e-8 < value < 1 else 100 * value
    if 0 < percent < 0.05:
        return "< 0.1 %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if 0 < percent < 1 or 99 < percent < 100 else f"{percent:.0f} %"


def day(value: date) -> str:
    """`5 January 2018`."""
    return f"{value.day} {value:%B %Y}"


def short_day(value: date) -> str:
    """`5 Jan 2018`."""
    return f"{value.day} {value:%b %Y}"


def span(first: date, last: date) -> str:
    """`1 to 28 January 2018`, with month and year said twice only where they differ."""
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {day(last)}"
    return f"{first.day} {first:%B} to {day(last)}" if first.year == last.year else f"{day(first)} to {day(last)}"


def duration(seconds: float) -> str:
    """`12.3 s`, `4 min 32 s`, `1 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def capital(text: str) -> str:
    """A text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def periods(number: int, grain: str) -> str:
    """`28 days`."""
    return f"{number} {grain}" if number == 1 else f"{number} {grain}s"


def model_name(model: str) -> str:
    """`seasonal_naive` as `Seasonal naive`, `auto_ets` as `Auto ETS`."""
    first, *rest = model.split("_")
    return " ".join([_SPELT.get(first, first.capitalize()), *(_SPELT.get(word, word) for word in rest)])


def metric_value(metric: str, value: float | None) -> str:
    """A metric's value, `–` where it is not defined."""
    if value is None:
        return "–"
    if metric in _SHARES:
        return _SHARES[metric].format(value).replace("%", " %")
    return count(value) if abs(value) >= 1000 else f"{value:#.4g}"


def metric_meaning(metric: Metric, grain: str, band: Mapping[str, Any] | None) -> str:
    """What a metric says, for periods of this length and the widest band (`low`, `high`, `share`), if there is one."""
    words = {"low": "lowest", "high": "highest", "share": 0.0} | dict(band or {})
    return metric.meaning.format(season=_SEASON[grain], **words | {"share": share(words["share"])})


def against(value: float | None, floor: float | None) -> tuple[str, str]:
    """How much lower than a floor a value is: the words, and `better`, `worse` or an empty string."""
    if value is None or not floor:
        return "", ""
    gain = 1 - value / floor
    if abs(gain) < 0.0005:
        return "same", ""
    words = "better" if gain > 0 else "worse"
    return f"{abs(100 * gain):.1f} % {words}", words


def spread(metric: str, lowest: float, highest: float) -> str:
    """The lowest and the highest value of a metric: `0.61 to 0.68`."""
    return f"{metric_value(metric, lowest)} to {metric_value(metric, highest)}"


def difference(gain: float | None) -> str:
    """Which share of another model's loss is saved: `12.3 % less`."""
    if gain is None:
        return "–"
    return f"{abs(100 * gain):.1f} % {'less' if gain >= 0 else 'more'}"


def interval(low: float | None, high: float | None) -> str:
    """Ends of the interval of a gain: `11.0 to 13.6 % less`, `0.4 % more to 1.2 % less`, `2.0 to 3.0 % more`."""
    if low is None or high is None:
        return "–"
    if low < 0 < high:
        return f"{difference(low)} to {difference(high)}"
    near, far = sorted((low, high), key=abs)
    return f"{abs(100 * near):.1f} to {difference(far)}"


def verdict(low: float | None, high: float | None) -> tuple[str, str]:
    """What the interval of a gain says: the words, and `better`, `worse` or an empty string."""
    if low is None or high is None:
        return "too little to tell", ""
    if low <= 0 <= high:
        return "no difference beyond chance", ""
    return ("better", "better") if low > 0 else ("worse", "worse")


def training(found: Training) -> str:
    """How long training took and when it was best."""
    text = f"{count(found.steps)} steps in {duration(found.seconds)}"
    best = found.best
    if best is None:
        return f"{text}, without a validation."
    when = f"after {count(best['step'])} steps ({duration(best['seconds'])})"
    return f"{text}; validation loss was lowest, {best['wql']:.4g}, {when}. The weights of that moment forecast."


def stage_figures(figures: Mapping[str, Any]) -> str:
    """What a stage reported: `rows 1,234, series 5`."""
    told = []
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
        told.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(told)


def summary(contents: Contents, grain: str) -> str:
    """One paragraph: what is expected, how far to trust it, what to order, how good the data are."""
    sentences = [_expectation(contents, grain), _trust(contents), _orders(contents), _data(contents)]
    return " ".join(sentence for sentence in sentences if sentence)


def _expectation(contents: Contents, grain: str) -> str:
    found = contents.forecasts
    if found is None:
        return "No forecast has been made yet."
    targets = [row["target_date"] for row in found.per_period]
    ahead = periods(len(targets), grain)
    text = f"For the {ahead} from {day(targets[0])}, demand of {count(found.expected)} units is expected"
    text += f" over {count(found.series)} series"
    if found.before and found.before > 0:
        change = found.expected / found.before - 1
        much = (
            "about as much as"
            if abs(change) < 0.005
            else f"{share(abs(change))} {'more' if change > 0 else 'less'} than"
        )
        text += f", {much} in the {ahead} before ({count(found.before)})"
    return f"{text}."


def _trust(contents: Contents) -> str:
    found = contents.accuracy
    if found is None:
        return "How accurate such forecasts are has not been measured yet."
    value, floor = found.values.get((found.models[0], "wql")), found.values.get(("seasonal_naive", "wql"))
    words, _ = against(value, floor)
    if not words:
        return ""
    words = "as good as" if words == "same" else f"{words} than"
    when, mean = f"On the periods after {day(found.origin)}", ""
    if len(found.origins) > 1:
        first, last = day(found.origins[0]), day(found.origin)
        when = f"On {len(found.origins)} windows, the first after {first} and the last after {last}"
        mean = " on average"
    return (
        f"{when}, which the model had not seen, its forecasts were{mean} {words} repeating the last season (weighted "
        "quantile loss)."
    )


def _orders(contents: Contents) -> str:
    found = contents.orders
    if found is None:
        return "Orders have not been worked out yet."
    text = f"{count(found.orders)} orders over {count(found.units)} units are proposed"
    if not found.has_stock:
        return f"{text}; no stock was given, so each covers the whole need."
    risk = f"{count(found.likely_out)} series would run out with a probability of {share(LIKELY)} or more"
    return f"{text}; without them {risk}."


def _data(contents: Contents) -> str:
    delivered = sum(row["rows_in"] for row in contents.quality or [])
    if not delivered:
        return ""
    bad = sum(row["rows_quarantined"] for row in contents.quality)
    if not bad:
        return f"All {count(delivered)} rows delivered were accepted."
    return f"Of {count(delivered)} rows delivered, {count(bad)} ({share(bad / delivered)}) were set aside as unusable."
