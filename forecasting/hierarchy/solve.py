"""The adjustments by which forecasts of series and of nodes add up: minimum trace with a diagonal of variances.

S series with forecasts b and error variances d, N nodes with forecasts u and error variances e; A, [N, S], is 1 where a node holds a series. The
forecasts nearest to both, errors weighed by their variances, under the constraint that nodes are the sums of their series, are

    b + D A' w        with        (A D A' + E) w = u - A b

(minimum trace, Wickramasuriya, Athanasopoulos & Hyndman 2019, in its form of constraints; D and E are the diagonal matrices of d and e). The
system is as large as there are nodes, however many series there are.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_matrix, diags
from scipy.sparse.linalg import splu

_LEAST = 1e-9  # variance of a node of whose series none ever varies


def multipliers(shared: csc_matrix, variance: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """The weights w, [N, H].

    Args:
        shared: A D A', [N, N]: variance of the series that two nodes have in common. variance: e, [N]. gap: u - A b, [N, H].
    """
    system = (shared + diags(np.maximum(variance, _LEAST))).tocsc()
    return splu(system).solve(np.ascontiguousarray(gap, np.float64))
