"""The plan of a scenario: whose prices, promotions, events or stock are otherwise on which days, read from a file or a table and checked."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import get_args

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from forecasting.config import Attribute
from forecasting.contracts import Rule
from forecasting.errors import SourceError
from forecasting.lake import rows
from forecasting.models.spec import Inputs
from forecasting.periods import shift

SELECTORS: tuple[str, ...] = get_args(Attribute)  # whose: the series with these attributes; blank: whatever they are
NO_PROMOTION = "none"  # in the column promotion: what is planned does not take place
TYPES = {
    **dict.fromkeys(SELECTORS, "string"),
    "starts_on": "date",
    "ends_on": "date",
    "price": "double",
    "price_change": "double",
    "promotion": "string",
    "promotion_depth": "double",
    "display": "double",
    "mailer": "double",
    "event": "string",
    "in_stock": "boolean",
}
STRENGTHS = ("promotion_depth", "display", "mailer")
#: What lines change, by the columns that say so. Of each, in every period the last line counts.
CHANGES = {
    "price": ("price", "price_change"),
    "promotion": ("promotion",),
    "event": ("event",),
    "stock": ("in_stock",),
}
_CHANGING = tuple(column for columns in CHANGES.values() for column in columns)
_WORDS = {"date": "a day like 2026-01-31", "double": "a number", "boolean": "true or false"}
_SELECTED = " OR ".join(f"{name} IS NOT NULL" for name in SELECTORS)
LINE = "line"  # number of a line
MOST_LINES = 100_000
_SHOWN = 5  # lines that an error quotes
RULES = (
    *(Rule(f"required_{name}", f"{name} IS NOT NULL", f"{name} on every line", (name,)) for name in ("starts_on", "ends_on")),
    Rule("span_forward", "starts_on <= ends_on", "a first day not after the last", ("starts_on", "ends_on")),
    Rule("some_change", f"coalesce({', '.join(f'CAST({name} AS STRING)' for name in _CHANGING)}) IS NOT NULL", f"something to change: one of {', '.join(_CHANGING)}"),
    Rule("price_positive", "price > 0 AND price < 1e9", "a price above 0", ("price",)),
    Rule("price_left", "price_change > -1 AND price_change < 100", "a change of price above -1 (0.1: a tenth more)", ("price_change",)),
    Rule("one_price", "price IS NULL OR price_change IS NULL", "a price or a change of price, not both", ("price", "price_change")),
    *(Rule(f"{name}_share", f"{name} BETWEEN 0 AND 1", f"{name} from 0 to 1", (name,)) for name in ("promotion_depth", "display", "mailer")),
    Rule(
        "promotion_named",
        "promotion IS NOT NULL OR coalesce(promotion_depth, display, mailer) IS NULL",
        "a promotion where its depth, display or mailer is given",
        ("promotion_depth", "display", "mailer"),
    ),
    Rule("event_everywhere", f"event IS NULL OR NOT ({_SELECTED})", "an event for all series: no item, location or other attribute beside it", ("event",)),
    Rule("stock_out", "in_stock IS NULL OR NOT in_stock", "in_stock false, or nothing: series count as in stock", ("in_stock",)),
)  # fmt: skip


@dataclass(frozen=True)
class Ahead:
    """The periods that can be changed: those after the origin, up to the horizon."""

    origin: date
    horizon: int
    grain: str

    @property
    def first(self) -> date:
        """First day ahead."""
        return shift(self.origin, 1, self.grain)

    @property
    def end(self) -> date:
        """Day behind the last one ahead."""
        return shift(self.origin, self.horizon + 1, self.grain)


def read_plan(spark: SparkSession, file: str | None, table: str | None) -> DataFrame:
    """Lines of a plan as text, each with its number in `line`; columns of TYPES that are not there are null. People write plans, so they are few,
    and pass through the driver, where they get their numbers.

    Args:
        file: path or URI of a CSV file with a header. table: name of a table or view, whose lines a column `line` may put in order. One of
            them is None.

    Raises:
        SourceError: it cannot be read, or has a column that plans do not have.
    """
    name = file or table
    try:
        raw = (
            spark.read.csv(file, header=True, ignoreLeadingWhiteSpace=True, ignoreTrailingWhiteSpace=True)
            if file
            else spark.table(table)
        )
        found = raw.columns
    except PySparkException as error:
        raise SourceError(
            f"Plan {name}: expected a readable {'CSV file' if file else 'table'}, came: {str(error).strip().splitlines()[0]}"
        ) from error
    if unknown := [column for column in found if column not in (*TYPES, *([LINE] if table else []))]:
        near = {column: difflib.get_close_matches(column, TYPES, n=1) for column in unknown}
        meant = "; ".join(f"{column}: did you mean {like[0]}?" for column, like in near.items() if like)
        raise SourceError(
            f"Plan {name}: expected columns among {', '.join(TYPES)}, came {', '.join(unknown)}. {meant}".rstrip()
        )
    if table:
        raw = raw.orderBy(LINE) if LINE in found else raw.orderBy(*found)
    text = [
        F.nullif(F.trim(F.col(column).cast("string")), F.lit("")).alias(column) for column in found if column != LINE
    ]
    lines = rows(raw.select(*text), most=MOST_LINES)
    values = [(number, *(line.get(column) for column in TYPES)) for number, line in enumerate(lines, start=1)]
    return spark.createDataFrame(values, f"{LINE} long, " + ", ".join(f"{column} string" for column in TYPES))


def checked(plan: DataFrame, name: str, ahead: Ahead) -> DataFrame:
    """The lines with the types of TYPES.

    Raises:
        SourceError: a value of another type, or a line that breaks one of RULES or lies outside the forecast; the first such lines are quoted.
    """
    if plan.isEmpty():
        raise SourceError(f"Plan {name}: expected at least one line below the header, came none.")
    _refuse(plan, name, [_typed(column, kind) for column, kind in TYPES.items() if kind in _WORDS])
    typed = plan.select("line", *(F.col(column).cast(kind).alias(column) for column, kind in TYPES.items()))
    inside = Rule(
        "inside_forecast",
        f"ends_on >= DATE'{ahead.first}' AND starts_on < DATE'{ahead.end}'",
        f"days that are forecast, from {ahead.first} to the day before {ahead.end}",
        ("starts_on", "ends_on"),
    )
    _refuse(typed, name, [*RULES, inside])
    return typed


def fits_model(plan: DataFrame, name: str, inputs: Inputs, sequences: DataFrame, priced: bool) -> None:
    """Whether the model has learnt of what the plan changes.

    Args:
        inputs: what the model reads. sequences: gold `sequences`. priced: whether prices were told in advance.

    Raises:
        SourceError: a promotion or event that it does not know, a strength that no promotion had, prices where none were told in advance.
    """
    said = {column: _words(plan, column) for column in ("promotion", "event")}
    if promotions := said["promotion"] - {NO_PROMOTION}:
        if "promotion" not in inputs.planned and not inputs.kinds:
            raise SourceError(
                f"Plan {name}, promotion: expected a model that reads promotions, came one without: the dataset delivers none, or "
                "model.leave_out names them."
            )
        _strengths_known(plan, name, sequences, inputs)
        if inputs.kinds:
            _known(name, "promotion", promotions, (*inputs.kinds, NO_PROMOTION))
    _known(name, "event", said["event"], inputs.events)
    changed = F.col("price").isNotNull() | F.col("price_change").isNotNull()
    if not priced and not plan.where(changed).isEmpty():
        raise SourceError(
            f"Plan {name}, price: expected a dataset that delivers the source `prices`, came one whose prices are known of sales alone: no model "
            "has learnt what a price announced in advance does. Plan a promotion instead, or deliver list prices."
        )


def _strengths_known(plan: DataFrame, name: str, sequences: DataFrame, inputs: Inputs) -> None:
    """Refuses a strength that no promotion ever had, and where promotions have no kinds, one without any strength that they had."""
    ever = {
        strength: F.coalesce(F.bool_or(F.exists(strength, lambda share: share > 0)), F.lit(False))
        for strength in STRENGTHS
    }
    had = sequences.agg(*(value.alias(strength) for strength, value in ever.items())).first()
    known = [strength for strength in STRENGTHS if had[strength]]
    for strength in STRENGTHS:
        if strength not in known and not plan.where(F.col(strength) > 0).isEmpty():
            raise SourceError(
                f"Plan {name}, {strength}: expected {' or '.join(known) or 'none'}, which promotions of the data had, came {strength}, which none had: "
                "no model has learnt what it does."
            )
    alone = plan.where(F.col("promotion") != NO_PROMOTION)
    for strength in STRENGTHS:
        alone = alone.where(F.coalesce(strength, F.lit(0.0)) == 0)
    if known and not inputs.kinds and not alone.isEmpty():
        raise SourceError(
            f"Plan {name}, promotion: expected {' or '.join(known)} beside it, since promotions of the data have no kinds, came a promotion alone."
        )


def _known(name: str, column: str, came: Collection[str], known: Sequence[str]) -> None:
    for word in sorted(set(came) - set(known)):
        near = difflib.get_close_matches(word, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "The model has not met it, so it cannot say what it does."
        expected = f"one of {', '.join(known)}" if known else f"none, since the model has met no {column}"
        raise SourceError(f"Plan {name}, {column}: expected {expected}, came {word!r}. {hint}")


def _words(plan: DataFrame, column: str) -> set[str]:
    return {row[column] for row in rows(plan.where(F.col(column).isNotNull()).select(column).distinct())}


def _typed(column: str, kind: str) -> Rule:
    expression = f"{column} IS NULL OR try_cast({column} AS {kind}) IS NOT NULL"
    return Rule(f"type_{column}", expression, f"{column} to be {_WORDS[kind]}", (column,))


def _refuse(plan: DataFrame, name: str, rules: Sequence[Rule]) -> None:
    """Raises an error that quotes the first lines which break one of the rules, if there are any."""
    cases = [
        F.when(
            ~F.coalesce(F.expr(rule.expression), F.lit(True)),
            F.concat(F.lit(f"expected {rule.expected}, came "), _quoted(rule.shown)),
        )
        for rule in rules
    ]
    told = plan.withColumn("why", F.coalesce(*cases)).where(F.col("why").isNotNull()).orderBy("line").limit(_SHOWN)
    if broken := rows(told.select("line", "why")):
        lines = "; ".join(f"line {row['line']}: {row['why']}" for row in broken)
        raise SourceError(f"Plan {name}: {lines}. (The header is not counted; at most {_SHOWN} lines are shown.)")


def _quoted(columns: Sequence[str]) -> Column:
    def named(column: str) -> Column:
        return F.concat(F.lit(f"{column} "), F.coalesce(F.col(column).cast("string"), F.lit("nothing")))

    return F.concat_ws(", ", *map(named, columns)) if columns else F.lit("nothing")
