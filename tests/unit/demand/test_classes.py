import numpy as np

from forecasting.demand.classes import demand_classes

STEADY = np.tile([5.0, 6.0, 5.0, 4.0], 10)


def test_classes_follow_interval_and_variation():
    erratic = np.where(np.arange(40) % 5 == 0, 60.0, 3.0)
    seldom = np.arange(40) % 4 == 0
    quantity = np.stack(
        [STEADY, STEADY * seldom, erratic, np.where(np.arange(40) % 8 == 0, 90.0, 2.0) * seldom, 0 * STEADY]
    )
    classes = demand_classes(quantity, np.ones_like(quantity, bool))
    assert classes.tolist() == ["smooth", "intermittent", "erratic", "lumpy", "no demand"]


def test_periods_that_could_not_be_seen_are_no_intervals():
    quantity = np.where(np.arange(40) % 2 == 0, 5.0, 0.0)[None]
    assert demand_classes(quantity, np.ones_like(quantity, bool)).tolist() == ["intermittent"]
    assert demand_classes(quantity, quantity > 0).tolist() == ["smooth"]
