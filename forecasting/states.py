"""What is known about a period of a series: whether its demand could be seen, and if not, why."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class State(IntEnum):
    """State of a period; stored as int8."""

    SOLD = 0
    """There are sales lines."""
    ZERO = 1
    """The location was open and sold nothing of the item: a true zero."""
    CLOSED = 2
    """The location was closed."""
    MISSING = 3
    """No records of the location were delivered."""
    OUT_OF_STOCK = 4
    """A stock snapshot says that there was nothing to sell."""
    OUT_OF_STOCK_INFERRED = 5
    """A run of zeros too long to be chance."""


#: Demand was met, so what was sold is what was wanted.
OBSERVED = (State.SOLD, State.ZERO)
#: Nobody could buy, or nobody told us.
NO_RECORD = (State.CLOSED, State.MISSING)
#: Demand is at least what was sold.
NO_STOCK = (State.OUT_OF_STOCK, State.OUT_OF_STOCK_INFERRED)


def in_states(state: np.ndarray, states: tuple[State, ...], alive: np.ndarray) -> np.ndarray:
    """Periods of living series that are in one of `states`: bool, in the shape of `state`."""
    member = np.zeros(len(State), bool)
    member[list(states)] = True
    return member[state] & alive


def with_inferred(state: np.ndarray, out_of_stock: np.ndarray) -> np.ndarray:
    """A copy of `state` in which the zeros that `out_of_stock` points at are inferred stock-outs: int8."""
    inferred = out_of_stock & (state == State.ZERO)
    return np.where(inferred, State.OUT_OF_STOCK_INFERRED, state).astype(np.int8)
