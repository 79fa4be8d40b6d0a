"""How much stock a service target asks for: the level up to which every order brings what is on hand and on order.

Stock is reviewed every R periods, and what is ordered arrives L periods later, so the level has to last for L + R periods: the protection
interval. n is the number of series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.config import InventoryConfig
from forecasting.inventory.distribution import CountDemand

_LEAST_SHARE = 1e-9  # of the demand of a protection interval: less in a review period is rounding
_HIGHEST = 1 - 1e-9  # probability with which the highest level that is looked at covers demand


@dataclass(frozen=True)
class Coverage:
    """What a level must last for: demand over the protection interval, demand of its first L periods, and the days of R, [n]."""

    protection: CountDemand
    lead: CountDemand
    review_days: np.ndarray

    def fill_rate(self, level: np.ndarray) -> np.ndarray:
        """Share of demand that is met from stock in the long run, if what is missing is backordered, [n]; 1 where none is asked for.

        Of the units that are short when an order arrives, those were short already that the order before it left so: what a review period adds
        is E[(D(L + R) - S)+] - E[(D(L) - S)+] of E[D(R)] (Hadley & Whitin 1963, Analysis of Inventory Systems; Johnson, Lee, Davis & Hall 1995).
        """
        asked = self.protection.mean - self.lead.mean
        some = asked > _LEAST_SHARE * self.protection.mean
        short = self.protection.shortage(level) - self.lead.shortage(level)
        return np.where(some, np.clip(1 - short / np.where(some, asked, 1.0), 0.0, 1.0), 1.0)


def order_up_to(coverage: Coverage, config: InventoryConfig) -> np.ndarray:
    """Least whole level at which the target of the configuration is met, [n], units."""
    return {"cycle_service": _for_cycle_service, "fill_rate": _for_fill_rate, "costs": _for_costs}[config.target](
        coverage, config
    )


def _for_cycle_service(coverage: Coverage, config: InventoryConfig) -> np.ndarray:
    """In a share of `service_level` of the protection intervals nothing is short."""
    return coverage.protection.quantile(config.service_level)


def _for_fill_rate(coverage: Coverage, config: InventoryConfig) -> np.ndarray:
    """A share of `service_level` of demand is met from stock. Halving finds where that begins; 0 where nothing is asked for."""
    lowest = np.full_like(coverage.protection.mean, -1.0)
    highest = coverage.protection.quantile(_HIGHEST)
    while (open_ := highest - lowest > 1).any():
        middle = np.floor((lowest + highest) / 2)
        enough = coverage.fill_rate(middle) >= config.service_level
        lowest, highest = np.where(open_ & ~enough, middle, lowest), np.where(open_ & enough, middle, highest)
    return highest


def _for_costs(coverage: Coverage, config: InventoryConfig) -> np.ndarray:
    """What is left at the end of a review period was kept for it, and what was short is lost and paid for once: the newsvendor's critical ratio
    (Arrow, Harris & Marschak 1951) with the cost of holding a unit for a review period as that of one too many. Stock that is sold within the period is
    held for less, so with long review periods this errs towards more stock, by some per cent of the cost."""
    too_many = config.holding_cost * coverage.review_days
    return coverage.protection.quantile(config.shortage_cost / (config.shortage_cost + too_many))


def packed(units: np.ndarray, pack_size: np.ndarray) -> np.ndarray:
    """Units rounded up to whole packs; 0 where none are needed. Both and the result [n]."""
    return np.ceil(np.maximum(units, 0.0) / pack_size - 1e-9) * pack_size
