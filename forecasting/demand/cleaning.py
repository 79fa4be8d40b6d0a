"""Demand as a model may learn from it: outliers, changes of level and unknown periods treated as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from forecasting.demand.detection import detect_outliers, outlier_thresholds, plausible_demand
from forecasting.demand.imputation import METHODS, fill
from forecasting.demand.shifts import detect_level_shifts
from forecasting.states import NO_RECORD, NO_STOCK, in_states

OUTLIERS = ("keep", "flag", "cap", "mask")
LEVEL_SHIFTS = ("keep", "flag", "mask")


class Treatment(IntEnum):
    """What was done to a period; stored as int8."""

    NONE = 0
    FLAGGED = 1
    """An outlier, noted; the value is as it was."""
    CAPPED = 2
    """Brought to the threshold of outliers, or from a large return to 0."""
    MASKED = 3
    """NaN: it does not count."""
    IMPUTED = 4
    """Filled in."""
    LEVEL_SHIFT = 5
    """By this period it was certain that demand had come to another level; noted, the value is as it was."""


@dataclass(frozen=True)
class CleaningSettings:
    """How periods are treated that do not show demand.

    outliers: keep, flag, cap (bring to the threshold) or mask. level_shifts: keep, flag (the period of confirmation) or
    mask (the history before the last shift does not count). missing, out_of_stock: method of `imputation.fill` for
    periods that were closed or not delivered, and for both kinds of stock-out.

    Raises:
        ValueError: a setting is not one of its choices.
    """

    outliers: str = "keep"
    level_shifts: str = "keep"
    missing: str = "none"
    out_of_stock: str = "none"

    def __post_init__(self) -> None:
        choices = {"outliers": OUTLIERS, "level_shifts": LEVEL_SHIFTS, "missing": METHODS, "out_of_stock": METHODS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")


def clean(
    quantity: np.ndarray, state: np.ndarray, alive: np.ndarray, settings: CleaningSettings, season: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cleaned demand and what was done to each period, as of the end of the block.

    Outliers are treated first, so that no fill rests on a spike that is capped or masked. Stock-outs that nobody
    recorded are treated if `state` says so (`detection.infer_stock_outs`). A filled stock-out is never below what was
    sold in it: demand was at least that. Where history before a shift is masked,
    fills behind the shift may rest on it still.

    Args:
        quantity: [series, periods], net units per period; left as it is.
        state: [series, periods] of `State`; alive: [series, periods], False before a series' first period.
        season: periods of a season.

    Returns:
        cleaned: float32, NaN where masked, unknown or not alive; treatment: int8 of `Treatment`.
    """
    cleaned = np.where(alive, quantity, np.nan).astype(np.float32)
    treatment = np.zeros(state.shape, np.int8)
    block = quantity, state, alive, season
    if (settings.outliers, settings.level_shifts) != ("keep", "keep"):
        plausible = plausible_demand(*block)  # both rest on it, and it costs most
    if settings.outliers != "keep":
        thresholds = outlier_thresholds(*block, plausible=plausible)
        outliers = detect_outliers(*block, thresholds=thresholds)
        # A large negative net takes back earlier sales; it says nothing of the demand of its own period.
        capped = np.where(quantity > 0, thresholds, 0)
        _treat_outliers(cleaned, treatment, outliers, capped, settings.outliers)
    unknown = in_states(state, (*NO_RECORD, *NO_STOCK), alive)
    known = np.where(unknown, np.nan, cleaned)
    for states, method in ((NO_RECORD, settings.missing), (NO_STOCK, settings.out_of_stock)):
        periods = in_states(state, states, alive)
        filled = fill(known, periods, method, season)
        if states is NO_STOCK:
            filled = np.maximum(filled, quantity)
        cleaned[periods] = filled[periods]
        treatment[periods] = np.where(np.isnan(filled[periods]), Treatment.MASKED, Treatment.IMPUTED)
    if settings.level_shifts != "keep":
        confirmed, back = detect_level_shifts(*block, plausible=plausible)
        _treat_level_shifts(cleaned, treatment, alive, confirmed, back, settings.level_shifts)
    return cleaned, treatment


def _treat_outliers(
    cleaned: np.ndarray, treatment: np.ndarray, outliers: np.ndarray, capped: np.ndarray, setting: str
) -> None:
    """Flags, masks, or brings to `capped` the outliers in `cleaned` and `treatment`."""
    treatment[outliers] = {"flag": Treatment.FLAGGED, "cap": Treatment.CAPPED, "mask": Treatment.MASKED}[setting]
    if setting == "cap":
        cleaned[outliers] = capped[outliers]
    elif setting == "mask":
        cleaned[outliers] = np.nan


def _treat_level_shifts(
    cleaned: np.ndarray,
    treatment: np.ndarray,
    alive: np.ndarray,
    confirmed: np.ndarray,
    back: np.ndarray,
    setting: str,
) -> None:
    """Flags the periods at which shifts are confirmed, or masks what lies before the start of the last one."""
    if setting == "flag":
        treatment[confirmed & (treatment == Treatment.NONE)] = Treatment.LEVEL_SHIFT
        return
    periods = np.arange(alive.shape[1])
    starts = np.where(confirmed, periods - back, 0).max(axis=1, initial=0)
    before = alive & (periods < starts[:, None])
    cleaned[before] = np.nan
    treatment[before] = Treatment.MASKED
