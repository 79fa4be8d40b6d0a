"""Classes of demand: how often a series sells, and how much the size of its sales varies."""

from __future__ import annotations

import numpy as np

CLASSES = ("smooth", "intermittent", "erratic", "lumpy")
NEVER = "no demand"
LONG_INTERVAL, VARIED = 1.32, 0.49  # cut-offs of ADI and CV2


def demand_classes(quantity: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Class of each series: smooth, intermittent, erratic, lumpy, or "no demand".

    ADI is the mean interval between periods with demand, CV2 the squared coefficient of variation of demand in them. Syntetos,
    Boylan and Croston (2005), On the categorization of demand patterns, J. Oper. Res. Soc. 56: cut-offs 1.32 and 0.49.

    Args:
        quantity: [series, periods], units. known: [series, periods], False where demand could not be seen.

    Returns:
        [series], strings.
    """
    sold = known & (quantity > 0)
    times, periods = sold.sum(axis=1), known.sum(axis=1)
    size = np.where(sold, quantity, 0.0).astype(np.float64)
    mean = np.divide(size.sum(axis=1), times, out=np.zeros(len(size)), where=times > 0)
    deviation = np.where(sold, size - mean[:, None], 0.0)
    variance = np.divide((deviation**2).sum(axis=1), times, out=np.zeros(len(size)), where=times > 0)
    interval = np.divide(periods, times, out=np.full(len(size), np.inf), where=times > 0)
    varied = np.divide(variance, mean**2, out=np.zeros(len(size)), where=mean > 0)
    index = (interval >= LONG_INTERVAL).astype(int) + 2 * (varied >= VARIED)
    return np.where(times > 0, np.array(CLASSES)[index], NEVER)
