"""Daily demand with a known truth: negative binomial, with a week, a year, stock-outs, spikes and changes of level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.states import State


@dataclass(frozen=True)
class Planted:
    """Blocks [series, days]; rate: units a day, [series]; stock_outs: (series, start, days) each.

    changed: first day at the new level, [series]; -1 where the level stays.
    """

    rate: np.ndarray
    mean: np.ndarray
    quantity: np.ndarray
    out_of_stock: np.ndarray
    stock_outs: list[tuple[int, int, int]]
    spike: np.ndarray
    changed: np.ndarray

    @property
    def state(self) -> np.ndarray:
        return np.where(self.quantity == 0, State.ZERO, State.SOLD).astype(np.int8)

    @property
    def alive(self) -> np.ndarray:
        return np.ones(self.quantity.shape, bool)


def plant(seed: int, series: int, days: int = 731) -> Planted:
    """Rates from 0.05 to 20 a day; gamma sizes from 0.5 that grow with the rate (variance 2 to 10 times a mean of 20).

    A third of the series above 0.3 a day change to 2.5 or 0.4 times their level. The others above 0.2 have three
    stock-outs of 5 to 28 days. Every series has two spikes of at least 30 units and 25 times the expected.
    """
    rng = np.random.default_rng(seed)
    day = np.arange(days)
    rate = np.exp(rng.uniform(np.log(0.05), np.log(20), series))
    week = rng.dirichlet(np.full(7, 12.0), series) * 7
    year = 1 + rng.uniform(0, 0.35, (series, 1)) * np.sin(2 * np.pi * (day / 365.25 + rng.random((series, 1))))
    changes = (rate > 0.3) & (rng.random(series) < 1 / 3)
    changed = np.where(changes, rng.integers(150, 600, series), -1)
    factor = np.where(changes[:, None] & (day >= changed[:, None]), rng.choice([2.5, 0.4], (series, 1)), 1.0)
    mean = rate[:, None] * week[:, day % 7] * year * factor
    size = (rng.uniform(0.5, 5, series) * np.maximum(1, np.sqrt(rate)))[:, None]
    quantity = rng.negative_binomial(size, size / (size + mean)).astype(np.float32)

    out_of_stock, stock_outs = np.zeros(quantity.shape, bool), []
    for row in np.flatnonzero((rate > 0.2) & ~changes):
        for first in (100, 300, 500):
            start, length = int(first + rng.integers(160)), int(rng.integers(5, 29))
            out_of_stock[row, start : start + length] = True
            stock_outs.append((int(row), start, length))
    quantity[out_of_stock] = 0
    spike = np.zeros(quantity.shape, bool)
    for row in range(series):
        spike[row, rng.choice(np.arange(90, days), 2, replace=False)] = True
    spike &= ~out_of_stock
    quantity = np.where(spike, np.maximum(30, np.ceil(25 * mean)), quantity).astype(np.float32)
    return Planted(rate, mean, quantity, out_of_stock, stock_outs, spike, changed)
