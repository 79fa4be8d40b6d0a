"""What stock does, period by period, where a policy orders up to a level at every review: for a batch of series at once.

A period begins with what arrives. In a period of review an order is placed next, which arrives `lead` periods later. Then demand comes. n is the
number of series, T that of periods, K that of reviews.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.inventory.targets import packed


@dataclass(frozen=True)
class StockFlow:
    """Units, [n, T]: `met` of a period's demand at once, `short` of it, and `stock` left at its end; `ordered` at each review, [n, K]."""

    met: np.ndarray
    short: np.ndarray
    stock: np.ndarray
    ordered: np.ndarray


def stock_flow(
    demand: np.ndarray,
    reviews: Sequence[int],
    levels: np.ndarray,
    lead: np.ndarray,
    pack_size: np.ndarray,
    backordered: bool = False,
) -> StockFlow:
    """Orders up to a level at each review, in whole packs, from stock at the level of the first.

    Args:
        demand: [n, T], units, none below 0. reviews: periods of review, rising. levels: of each, [n, K], units.
        lead: periods from order to arrival, [n]. pack_size: [n], units.
        backordered: what is missing is owed and served from the next arrivals; else it is lost.
    """
    series, periods = demand.shape
    every, number = np.arange(series), {period: place for place, period in enumerate(reviews)}
    due = np.zeros((series, periods + 1))  # the last column: what arrives behind the last period
    on_hand, on_order, owed = np.array(levels[:, 0], np.float64), np.zeros(series), np.zeros(series)
    met, stock, ordered = np.zeros(demand.shape), np.zeros(demand.shape), np.zeros(levels.shape)
    for now in range(periods):
        on_hand, on_order = on_hand + due[:, now], on_order - due[:, now]
        if (review := number.get(now)) is not None:
            order = packed(levels[:, review] - (on_hand + on_order - owed), pack_size)
            at_once = np.where(lead == 0, order, 0.0)
            due[every, np.minimum(now + lead, periods)] += order - at_once
            on_hand, on_order, ordered[:, review] = on_hand + at_once, on_order + order - at_once, order
        served = np.minimum(owed, on_hand)
        on_hand, owed = on_hand - served, owed - served
        met[:, now] = np.minimum(demand[:, now], on_hand)
        on_hand = on_hand - met[:, now]
        if backordered:
            owed = owed + demand[:, now] - met[:, now]
        stock[:, now] = on_hand
    return StockFlow(met, demand - met, stock, ordered)
