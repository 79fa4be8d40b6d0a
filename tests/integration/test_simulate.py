"""The job that plays stock policies through, on a lake of a few rows: what it writes, figures, and what it refuses."""

from datetime import timedelta

import pytest

from forecasting.errors import ConfigError, LakeError
from forecasting.lake import rows
from jobs import simulate
from tests.integration.test_views import DAYS, HORIZON, LAST, forecasts, sequence

WEEKS = 3
LINEAGE = ("run_id", "created_at")


@pytest.fixture
def make(make_run):
    def made(*settings: str):
        own = (f"forecast.horizon={HORIZON}", "forecast.quantiles=[0.1, 0.5, 0.9]", "inventory.lead_time=2")
        return make_run(*own, f"scoring.origins={WEEKS + 1}", "scoring.step=7", *settings)

    return made


def written(run, name: str) -> list[dict]:
    found = rows(run.lake.read("stock_simulation").where(f"simulation = '{name}'"))
    plain = [{key: value for key, value in row.items() if key not in LINEAGE} for row in found]
    return sorted(plain, key=lambda row: (row["policy"], row["item_id"]))


def test_policies_stand_side_by_side_and_names_too(make):
    run = make()
    series = [sequence(item, [units] * DAYS) for item, units in (("steady", 3.0), ("rare", 0.0))]
    run.lake.write(run.lake.frame(series, "sequences"), "sequences")
    told = [
        row
        for item, units in (("steady", 3.0), ("rare", 0.0))
        for week in range(WEEKS + 1)
        for row in forecasts(item, LAST - timedelta(7 * week), units, spread=0.0)
    ]
    run.lake.write(run.lake.frame(told, "forecasts"), "forecasts")
    figures = simulate.execute(run)
    first = written(run, "default")
    assert [(row["policy"], row["item_id"]) for row in first] == [
        ("moving_average", "rare"), ("moving_average", "steady"), ("plan", "rare"), ("plan", "steady"),
    ]  # fmt: skip
    steady = first[3]
    # Two days to wait and weeks of seven: from the third day on two whole cycles.
    assert (steady["periods"], steady["cycles"], steady["demand"], steady["met"]) == (14, 2, 42.0, 42.0)
    assert steady["first_origin"] == LAST - timedelta(7 * WEEKS)
    assert (figures["series"], figures["plan_fill_rate"], figures["plan_cycle_service"]) == (2, 1.0, 1.0)
    assert figures["plan_cost"] == pytest.approx(sum(row["holding_cost"] + row["shortage_cost"] for row in first[2:]))
    assert simulate.execute(run) == figures and written(run, "default") == first

    scarce = make("simulation.name=scarce", "inventory.service_level=0.2", "simulation.policies=[plan]")
    assert simulate.execute(scarce)["plan_fill_rate"] < 1
    assert written(run, "default") == first and len(written(run, "scarce")) == 2

    slow = simulate.execute(make("simulation.name=slow", "inventory.lead_time=60"))
    assert slow["plan_fill_rate"] is None and slow["plan_cycle_service"] is None and slow["plan_cost"] == 0

    with pytest.raises(LakeError, match=r"from 2024-02-11 forecasts of 28 periods .* came none\. Run the job score"):
        simulate.execute(make("scoring.origins=8"))
    with pytest.raises(LakeError, match=r"forecasts of 14 periods .* came 56 rows of 2 series, up to 28 periods ahead"):
        simulate.execute(make("forecast.horizon=14"))
    with pytest.raises(ConfigError, match=r"scoring\.origins: expected 2 at least"):
        simulate.execute(make("scoring.origins=1"))
