"""Sales lines to demand per series and period, and to the days on which each location was open.

spark-submit --py-files dist/forecasting.zip jobs/aggregate.py --conf conf/prod.yml
"""

from forecasting.contracts import SOURCES
from forecasting.demand.aggregate import build_demand, data_version, in_months, last_day_of
from forecasting.demand.location_days import build_location_days, lines_per_day
from forecasting.demand.update import ALL, Basis, stale_months
from forecasting.ingest.quality import checksums
from forecasting.lake import with_lineage
from forecasting.runtime import Figures, Run, entry_point


def execute(run: Run) -> Figures:
    """Sum the sales log into demand per series and period; only months with changed lines are summed again."""
    lake, config = run.lake, run.config
    shaping = [name for name, source in SOURCES.items() if source.shapes_demand and lake.exists(name)]
    found = checksums(lake.read("data_quality"), {name: lake.version(name) for name in shaping})
    basis = Basis.now(lake, found, config, data_version(found, config))
    months = stale_months(lake, config.series.grain, basis)
    last_day = last_day_of(lake.read("sales"))
    if months is ALL or months:
        update_location_days(run, months, last_day, basis)
        update_demand(run, months, basis)
    written = "all months" if months is ALL else len(months)
    rows = lake.read("demand").count()
    return {"rows": rows, "months_written": written, "last_day": last_day, "data_version": basis.data_version}


def update_demand(run: Run, months: list | None, basis: Basis) -> None:
    """Sums the sales lines of the given months, or of all."""
    lake, config = run.lake, run.config
    sales = lake.read("sales")
    if months is not ALL:
        sales = sales.where(in_months(months, config.series.grain))
    units = lake.read("units") if lake.exists("units") else None
    with run.shuffling(lake.bytes_of("sales")):
        demand = build_demand(sales, lake.read_or_empty("locations"), config.series, config.demand, units)
        lineage = {"run_id": run.id, "data_version": basis.data_version}
        replacing = None if months is ALL else {"month": months}
        lake.write(with_lineage(demand, **lineage), "demand", replacing, note=basis.note())


def update_location_days(run: Run, months: list | None, last_day: object, basis: Basis) -> None:
    """Counts the lines of the given months, or of all, and judges every day anew."""
    lake, config = run.lake, run.config
    sales = lake.read("sales")
    if months is ALL:
        lines = lines_per_day(sales)
    else:
        stale, known = in_months(months, config.series.grain), lake.read("location_days").where("lines > 0")
        fresh = in_months(months, config.series.grain, "date")
        lines = lines_per_day(sales.where(stale)).union(known.where(~fresh).select("location_id", "date", "lines"))
    locations, calendar = lake.read_or_empty("locations"), lake.read_or_empty("calendar")
    days = build_location_days(lines, locations, calendar, config.demand, last_day)
    lake.write(with_lineage(days, run_id=run.id, data_version=basis.data_version), "location_days")


main = entry_point("aggregate", execute)

if __name__ == "__main__":
    main()
