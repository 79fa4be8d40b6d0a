"""The job that keeps tables small: what it deletes, and that nothing else changes."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from forecasting.lake import rows
from jobs import maintain
from tests.integration.test_views import HORIZON, LAST, forecasts, write


@pytest.fixture
def make(make_run):
    def made(*settings: str):
        return make_run(f"forecast.horizon={HORIZON}", "forecast.quantiles=[0.1, 0.5, 0.9]", *settings)

    return made


def origins(run) -> list[date]:
    found = run.lake.read("forecasts").select("forecast_origin").distinct().orderBy("forecast_origin")
    return [row["forecast_origin"] for row in rows(found)]


def files(run, origin: date) -> int:
    folder = Path(run.lake.path("forecasts"), f"forecast_origin={origin}")
    named = {name.rpartition("/")[2] for name in run.lake.read("forecasts").inputFiles()}
    return len(named & {file.name for file in folder.iterdir()})


def test_old_origins_go_and_the_rows_of_all_others_stay_in_one_file(make):
    run = make("maintenance.keep_days=30")
    kept = [LAST - timedelta(days) for days in (30, 7, 0)]
    told = [row for origin in [LAST - timedelta(31), *kept] for row in forecasts("b", origin, 1.0)]
    run.lake.write(run.lake.frame(told, "forecasts").repartition(3), "forecasts")
    more = [row for item in ("a", "c") for row in forecasts(item, LAST, 2.0)]
    run.lake.replace_rows(run.lake.frame(more, "forecasts"), "forecasts", {"forecast_origin": LAST})
    assert files(run, LAST) > 1
    figures = maintain.execute(run)
    assert origins(run) == kept
    assert figures["origins_deleted"] == 1 and figures["files_compacted"] > 1
    assert run.lake.read("forecasts").count() == (3 + 2) * HORIZON
    assert [files(run, origin) for origin in kept] == [1, 1, 1]
    version = run.lake.newest_version("forecasts")
    assert maintain.execute(run) == {"tables": 1, "origins_deleted": 0, "files_compacted": 0}
    assert run.lake.version("forecasts") <= version


def test_nothing_is_deleted_unless_a_policy_says_so(make):
    run = make()
    write(run, "forecasts", [*forecasts("a", LAST - timedelta(4000), 1.0), *forecasts("a", LAST, 1.0)])
    assert maintain.execute(run)["origins_deleted"] == 0
    assert len(origins(run)) == 2


def test_a_table_of_an_earlier_version_is_divided_by_origin_at_the_next_write(make):
    run = make()
    old, path = run.lake.frame(forecasts("a", LAST - timedelta(1), 1.0), "forecasts"), run.lake.path("forecasts")
    old.createOrReplaceTempView("old_forecasts")
    run.spark.sql(
        f"CREATE TABLE delta.`{path}` USING delta TBLPROPERTIES ('delta.dataSkippingStatsColumns' = 'item_id,forecast_origin,target_date') "
        "AS SELECT * FROM old_forecasts"
    )
    run.lake.write(
        run.lake.frame(forecasts("a", LAST, 2.0), "forecasts"), "forecasts", replacing={"forecast_origin": LAST}
    )
    detail = run.spark.sql(f"DESCRIBE DETAIL delta.`{run.lake.path('forecasts')}`").first()
    assert detail["partitionColumns"] == ["forecast_origin"]
    assert origins(run) == [LAST - timedelta(1), LAST]
    assert run.lake.read("forecasts").count() == 2 * HORIZON
