"""Contracts of the tables that models and decisions write, and of the log of stages."""

from __future__ import annotations

from forecasting.contracts.table import (
    CREATED_AT,
    DATA_VERSION,
    ITEM,
    LOCATION,
    MODEL_VERSION,
    RUN,
    Column,
    Rule,
    Table,
    required,
)

LINEAGE = (MODEL_VERSION, DATA_VERSION, RUN, CREATED_AT)  # of every row that a model made

_FORECAST_KEY = (
    ITEM,
    LOCATION,
    required("forecast_origin", "date", "last period whose demand the forecast knows"),
    required("target_date", "date", "first day of the forecast period"),
    required("horizon", "int", "periods from origin to target, from 1"),
)
_CONSTRAINTS = (
    Rule("mean_is_demand", "mean >= 0 AND mean < double('infinity')", "a mean that is a number, 0 or more"),
    Rule("target_ahead", "target_date > forecast_origin AND horizon >= 1", "a period behind the origin"),
)
FORECASTS = Table(
    "forecasts",
    "gold",
    "Probabilistic demand per series, origin and target period.",
    (
        *_FORECAST_KEY,
        required("mean", "double", "expected demand, units"),
        required(
            "method",
            "string",
            "scoring.model; scoring.fallback where the backtest shows that it is better, or where the model gives no number; closed: the "
            "place will be; not launched: before the item's first day; ended: nothing sold for scoring.ended_after periods",
        ),
        Column("reason", "string", "why another method than scoring.model; else null"),
        *LINEAGE,
    ),
    key=("item_id", "location_id", "forecast_origin", "target_date"),
    quantiles=True,
    skipping=("item_id", "target_date"),
    partitioned_by=("forecast_origin",),
    feed=True,
    constraints=_CONSTRAINTS,
)
_OF_A_NODE = (
    ("item_id", "item (SKU)"),
    ("location_id", "location, or what series.location_level makes of it"),
    ("location_group", "group of the location"),
    ("department", "department"),
    ("category", "category"),
    ("subcategory", "subcategory"),
    ("brand", "brand"),
    ("manufacturer", "manufacturer"),
)
FORECASTS_BY_LEVEL = Table(
    "forecasts_by_level",
    "gold",
    "Forecasts of totals at every level of reconciliation.levels and of the series, of which the means add up. Quantiles do not.",
    (
        required(
            "level",
            "string",
            "attributes that the series of a node share, as category x location_id; total: all series",
        ),
        required("node", "string", "their values, as SOFT DRINKS / 367; total: all series"),
        *(Column(name, "string", f"{doc} of the node; null where the level has none") for name, doc in _OF_A_NODE),
        required("forecast_origin", "date", "last period whose demand the forecast knows"),
        required("target_date", "date", "first day of the forecast period"),
        required("horizon", "int", "periods from origin to target, from 1"),
        Column(
            "base_mean",
            "double",
            "expected demand by the node's own forecast, before levels were made to add up, units",
        ),
        required("mean", "double", "expected demand, units; of a node the sum of those of its series"),
        required(
            "base_method",
            "string",
            "what made the forecast before: reconciliation.base; of a series the method in forecasts",
        ),
        required("method", "string", "reconciliation.method, by which levels were made to add up"),
        *LINEAGE,
    ),
    key=("level", "node", "forecast_origin", "target_date"),
    quantiles=True,
    skipping=("level", "node", "target_date"),
    partitioned_by=("forecast_origin",),
    constraints=_CONSTRAINTS,
)
SCENARIO_FORECASTS = Table(
    "scenario_forecasts",
    "gold",
    "What would sell with a plan of other prices, promotions, events or stock, beside what would without it.",
    (
        required("scenario", "string", "name of the scenario"),
        *_FORECAST_KEY,
        required("baseline_mean", "double", "expected demand without the plan, units"),
        required("mean", "double", "expected demand with the plan, units; 0 where it says out of stock"),
        required("difference", "double", "mean - baseline_mean, units"),
        required(
            "method",
            "string",
            "scoring.model; the floor of scoring.fallback where the model gives no number; closed: the place will be",
        ),
        Column(
            "baseline_price",
            "double",
            "what a customer pays without the plan, a planned discount taken off; null unknown",
        ),
        Column("price", "double", "the same with the plan"),
        Column("baseline_revenue", "double", "baseline_mean at baseline_price, in the dataset's currency"),
        Column("revenue", "double", "mean at price, in the dataset's currency"),
        Column("revenue_difference", "double", "revenue - baseline_revenue"),
        Column("changes", "string", "what the plan changes in the period, in words; null: nothing"),
        *LINEAGE,
    ),
    key=("scenario", "item_id", "location_id", "forecast_origin", "target_date"),
    quantiles=True,
    skipping=("scenario", "item_id"),
)
BACKTEST_FORECASTS = Table(
    "backtest_forecasts",
    "gold",
    "Forecasts of held-out periods beside what came, per model; each model has the same rows.",
    (
        required("model", "string", "one of backtest.models"),
        *_FORECAST_KEY,
        required("actual", "double", "demand that came, units"),
        required("mean", "double", "expected demand, units"),
        *LINEAGE,
    ),
    key=("model", "item_id", "location_id", "forecast_origin", "target_date"),
    quantiles=True,
    skipping=("model", "item_id", "forecast_origin"),
)
BACKTEST_METRICS = Table(
    "backtest_metrics",
    "gold",
    "Accuracy per model and origin over the held-out periods, in all and by segment; docs/method.md defines each metric.",
    (
        required("model", "string", "one of backtest.models"),
        required("forecast_origin", "date", "last period whose demand the forecasts knew"),
        required(
            "segment",
            "string",
            "all, demand_class, category, volume, history, ahead (part of the horizon), promotion or level (of the hierarchy)",
        ),
        required("part", "string", "which part of the segment: smooth, 8-14, promoted; all in the segment all"),
        required(
            "metric",
            "string",
            "mse, rmse, mae, wape, mase, rmsse, wrmsse, wql, bias, revision, pinball_<level>, below_<level>, as below_0.1, ...",
        ),
        Column("value", "double", "value; null where it is not defined, for example with no demand at all"),
        required("series", "bigint", "series that the value rests on; for mase and rmsse those with a scale above 0"),
        *LINEAGE,
    ),
    key=("model", "forecast_origin", "segment", "part", "metric"),
    skipping=("model", "forecast_origin", "segment"),
)
MODEL_COMPARISONS = Table(
    "model_comparisons",
    "gold",
    "Whether the first model of backtest.models is better than each other one, or the difference may be chance.",
    (
        required("model", "string", "the first of backtest.models"),
        required("against", "string", "another of them, with the same rows in backtest_forecasts"),
        required("forecast_origin", "date", "last period whose demand the forecasts knew"),
        required("loss", "string", "pinball (summed over levels, as wql does) or squared_error (of the mean)"),
        Column("gain", "double", "share of the other model's loss that the model saves; null where that loss is 0"),
        Column("gain_low", "double", "lower end of the 95 % interval of gain; null where all differences are alike"),
        Column("gain_high", "double", "upper end of it"),
        Column("p_value", "double", "probability of a difference as large by chance; clustered by item and by day"),
        required("origins", "int", "origins whose forecasts are compared, of which forecast_origin is the last"),
        required("series", "bigint", "series compared"),
        required("better_series", "double", "share of them in which the model's loss is lower"),
        *LINEAGE,
    ),
    key=("model", "against", "forecast_origin", "loss"),
    skipping=("model", "forecast_origin"),
)
EQUATION_PARAMETERS = Table(
    "equation_parameters",
    "gold",
    "What the classical equations fitted to each series as of an origin; docs/method.md has the equations.",
    (
        required("model", "string", "lagged_regression or structural_regression"),
        ITEM,
        LOCATION,
        required("forecast_origin", "date", "last period that was fitted"),
        required("a", "double", "weight of the period before"),
        required("b", "double", "weight of the trend; 0 in lagged_regression"),
        required("g", "double", "weight of the season; 0 in lagged_regression"),
        required("intercept", "double", "of the regression f, units"),
        required("coefficients", "map<string,double>", "of each regressor of f, units for one more of it"),
        required("residual_deviation", "double", "standard deviation of the error one period ahead, units"),
        required("periods", "int", "periods that were fitted"),
        *LINEAGE,
    ),
    key=("model", "item_id", "location_id", "forecast_origin"),
    skipping=("model", "item_id", "forecast_origin"),
)
FORECAST_VALUE_ADDED = Table(
    "forecast_value_added",
    "gold",
    "Per series whether scoring.model forecasts it better than the floor scoring.fallback, over the held-out periods of a backtest.",
    (
        ITEM,
        LOCATION,
        required("forecast_origin", "date", "last of the origins whose forecasts are compared"),
        required("model", "string", "scoring.model"),
        required("floor", "string", "scoring.fallback"),
        required("periods", "int", "held-out periods compared"),
        required("model_loss", "double", "pinball loss of the model, summed over levels, mean a period, units"),
        required("floor_loss", "double", "the same of the floor"),
        Column(
            "p_value",
            "double",
            "probability of the floor being better by so much by chance alone; null: too few periods to say",
        ),
        *LINEAGE,
    ),
    key=("item_id", "location_id", "forecast_origin"),
    skipping=("item_id", "forecast_origin"),
)
INVENTORY_PLAN = Table(
    "inventory_plan",
    "gold",
    "What to order now, per series.",
    (
        ITEM,
        LOCATION,
        required("plan_date", "date", "last period of the data, at whose end the order is placed"),
        required("on_hand", "double", "units on hand; 0 where no stock is given"),
        required("on_order", "double", "units on order; 0 where no stock is given"),
        required("lead_time", "int", "days from order to receipt"),
        required("review_period", "int", "days between two orders"),
        required("pack_size", "double", "units that the order is rounded up to"),
        required("protection_periods", "int", "periods that this order must cover: lead time + review period"),
        required("protection_demand", "double", "expected demand over protection_periods, units"),
        required("protection_demand_std", "double", "its standard deviation, units"),
        required("safety_stock", "double", "reorder_point - protection_demand, units"),
        required(
            "reorder_point",
            "double",
            "units on hand and on order up to which is ordered: least at which inventory.target is met",
        ),
        Column(
            "fill_rate", "double", "expected share of demand met from stock, were it always ordered up to reorder_point"
        ),
        required("order_quantity", "double", "units to order now"),
        required(
            "stock_out_probability", "double", "probability that demand over protection_periods exceeds the stock"
        ),
        required("stock_out_probability_after_order", "double", "the same once order_quantity is ordered"),
        Column(
            "expected_shortage", "double", "units by which demand over protection_periods exceeds the stock, expected"
        ),
        Column("expected_shortage_after_order", "double", "the same once order_quantity is ordered"),
        *LINEAGE,
    ),
    key=("item_id", "location_id", "plan_date"),
    skipping=("item_id", "plan_date"),
)
STOCK_SIMULATION = Table(
    "stock_simulation",
    "gold",
    "What each stock policy would have come to, per series: past periods played through with the orders that it would have placed.",
    (
        required("simulation", "string", "simulation.name, of which a further run takes the place"),
        required("policy", "string", "one of simulation.policies"),
        ITEM,
        LOCATION,
        Column(
            "first_origin",
            "date",
            "last period that the first order knew; null: nothing is counted, since lead time and review period are longer than what was simulated",
        ),
        required("last_period", "date", "last period of the data"),
        required("periods", "int", "periods that are counted: whole cycles, from the arrival of the first order on"),
        required("demand", "double", "units asked for, as far as they were sold"),
        required("met", "double", "units of it that were in stock when asked for; met / demand is the fill rate"),
        required("short", "double", "units that were not"),
        required("average_stock", "double", "units left at the end of a period, on average"),
        required("cycles", "int", "replenishment cycles, each from the arrival of an order to that of the next"),
        required("cycles_short", "int", "cycles in which something was short"),
        required("orders", "int", "orders placed for these cycles"),
        required("units_ordered", "double", "units of these"),
        required("holding_cost", "double", "inventory.holding_cost for each unit and day left in stock"),
        required("shortage_cost", "double", "inventory.shortage_cost for each unit that was short"),
        required("model_version", "string", "versions of all models whose forecasts were ordered by, joined by commas"),
        DATA_VERSION,
        RUN,
        CREATED_AT,
    ),
    key=("simulation", "policy", "item_id", "location_id"),
    skipping=("simulation", "policy", "item_id"),
)
RUN_STAGES = Table(
    "run_stages",
    "gold",
    "A log of stages as they finished: what each did, how long it took, what it needed. The last row of a run and stage counts.",
    (
        RUN,
        required("stage", "string", "job"),
        required("seconds", "double", "wall time"),
        required("peak_memory_gib", "double", "largest memory of the driver and its processes on this machine"),
        required("figures", "string", "what the stage reports, as JSON"),
        required("finished_at", "timestamp", "when the stage finished"),
        CREATED_AT,
    ),
    key=("run_id", "stage", "finished_at"),
    skipping=("run_id",),
)
