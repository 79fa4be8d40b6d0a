"""Demand to model-ready sequences, one row per series, and the calendars and covariates they share.

spark-submit --py-files dist/forecasting.zip jobs/features.py --conf conf/prod.yml
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.demand import update
from forecasting.demand.aggregate import at_location_level
from forecasting.demand.location_days import idle_periods
from forecasting.demand.stock import empty_periods
from forecasting.errors import LakeError
from forecasting.features.behaviour import behaviour_lists
from forecasting.features.calendar import calendar_features
from forecasting.features.covariates import build_covariates, measured
from forecasting.features.former import Basis, Kept
from forecasting.features.groups import group_lists
from forecasting.features.history import histories
from forecasting.features.launches import launched_about, launches
from forecasting.features.places import calendars, places, with_places_of
from forecasting.features.plans import price_spans, promotion_spans
from forecasting.features.prices import category_prices
from forecasting.features.sequences import Axis, Facts, build_sequences
from forecasting.lake import rows, with_lineage
from forecasting.periods import last_whole, position
from forecasting.runtime import Figures, Run, entry_point


def execute(run: Run) -> Figures:
    """Turn demand, plans, covariates and attributes into one row of arrays per series."""
    lake, config = run.lake, run.config
    basis = update.Basis.noted(lake)
    if basis is None:
        raise LakeError("Table demand: expected the note of the job aggregate, came none. Run the job aggregate again.")
    lineage = {"run_id": run.id, "data_version": basis.data_version}
    demand, products = lake.read("demand"), lake.read_or_empty("products")
    last_day = lake.read("location_days").agg(F.max("date").alias("day")).first()["day"]
    grain, last = config.series.grain, last_whole(last_day, config.series.grain)
    now = Basis.now(lake, config, last)
    kept = Kept.of(lake, now, grain)
    axis = Axis(grain, last, config.forecast.horizon, kept.since)
    demand = demand.where(F.col("period_start") <= F.lit(last))
    if kept.since is not None:
        demand = demand.where(F.col("period_start") >= F.lit(kept.since))

    prices = kept.category_prices.drop(*lineage).unionByName(category_prices(demand, products))
    lake.write(with_lineage(prices, **lineage), "category_prices", note=now.note())
    history = histories(demand, grain, demand.count())
    items = launched_about(products, last, config.forecast.horizon, grain)
    if not items.isEmpty():
        history = history.unionByName(launches(items, lake.read("demand"), every_place(run), last))
    with run.shuffling(max(lake.bytes_of(table) for table in ("demand", "sequences") if lake.exists(table))):
        sequences = build_sequences(history, facts(run, axis, demand), axis, config.demand, kept.sequences)
        lake.write(with_lineage(sequences, **lineage), "sequences", note=now.note())
    write_covariates(run, axis, lineage)
    periods = write_calendars(run, axis, lineage)
    told = {"series": lake.read("sequences").count(), "periods": periods, "made_from": kept.since or "the start"}
    return told | {"data_version": basis.data_version}


def every_place(run: Run) -> DataFrame:
    """`location_id` of all places at series.location_level."""
    lake = run.lake
    locations = with_places_of(lake.read("location_days"), lake.read_or_empty("locations"))
    return at_location_level(locations.select("location_id"), locations, run.config.series.location_level)


def facts(run: Run, axis: Axis, demand: DataFrame) -> Facts:
    """What the sources say of series, beside their sales; `demand` from `axis.since` up to the last period."""
    lake, series, products = run.lake, run.config.series, run.lake.read_or_empty("products")
    grain, level = series.grain, series.location_level
    location_days = lake.read("location_days")
    locations = with_places_of(location_days, lake.read_or_empty("locations"))
    spans, place_spans = promotion_spans(lake.read_or_empty("promotions"), locations, level)
    items, categories = group_lists(demand, products, run.config.features.group_demand, level)
    return Facts(
        products=products,
        category_prices=lake.read("category_prices"),
        calendar=run.config.features.calendar,
        places=places(locations, run.config.features, level),
        spans=spans,
        place_spans=place_spans,
        prices=price_spans(lake.read_or_empty("prices"), locations, level),
        behaviour=behaviour_lists(lake.read_or_empty("behaviour"), locations, grain, level),
        items=items,
        categories=categories,
        idle=idle_periods(location_days, locations, grain, level, run.config.demand),
        out_of_stock=empty_periods(lake.read_or_empty("stock"), locations, grain, level),
    )


def write_covariates(run: Run, axis: Axis, lineage: dict) -> None:
    """Weather, signals and local events; none are written where the dataset has none."""
    lake, level = run.lake, run.config.series.location_level
    sources = [lake.read_or_empty(name) for name in ("weather", "signals", "calendar")]
    if all(source.isEmpty() for source in sources) and not lake.exists("covariates"):
        return
    locations = with_places_of(lake.read("location_days"), lake.read_or_empty("locations"))
    measurements = measured(*sources, locations, level)
    covariates = build_covariates(measurements, axis, run.config.features.missing)
    lake.write(with_lineage(covariates, **lineage), "covariates")


def write_calendars(run: Run, axis: Axis, lineage: dict) -> int:
    """A calendar for each country and region that has a location; returns the periods that have demand."""
    lake, features = run.lake, run.config.features
    first = lake.read("demand").agg(F.min("period_start").alias("first")).first()["first"]
    periods = axis.end - int(position(first, axis.grain)) + 1
    planned_until = lake.read_or_empty("promotions").agg(F.max("ends_on").alias("day")).first()["day"]
    own = lake.read_or_empty("calendar").where(F.col("location_id").isNull()).select("date", "event")
    events = rows(own)
    records = []
    for name, country, region in calendars(
        rows(lake.read_or_empty("locations").select("country", "region").distinct()), features
    ):
        frame = calendar_features(
            first, periods + axis.horizon, axis.grain, country, region, features.events, events, planned_until
        )
        records += [row | {"calendar": name} | lineage for row in frame.to_dict("records")]
    lake.write(lake.frame(records, "calendar_features"), "calendar_features")
    return periods


main = entry_point("features", execute)

if __name__ == "__main__":
    main()
