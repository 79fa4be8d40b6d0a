"""Plans of scenarios: what is read, and what is refused with which words."""

from datetime import date

import pytest

from forecasting.errors import SourceError
from forecasting.lake import rows
from forecasting.models.spec import Inputs
from forecasting.scenarios.plan import TYPES, Ahead, checked, fits_model, read_plan

AHEAD = Ahead(date(2024, 6, 30), 14, "day")
HEADER = "item_id,starts_on,ends_on,"
INPUTS = Inputs(planned=("promotion",), kinds=("coupon", "flyer"), events=("easter",))


@pytest.fixture(scope="module")
def sequences(spark):
    """Series of which one was displayed, and none was ever in a mailer or had a promotion of known depth."""
    arrays = "promotion_depth array<float>, display array<float>, mailer array<float>"
    return spark.createDataFrame([([0.0, 0.0], [0.0, 1.0], [0.0, 0.0]), (None, None, None)], arrays)


@pytest.fixture
def plan_of(spark, tmp_path):
    """A plan of some lines of CSV below a header, checked."""

    def make(header: str, *lines: str):
        file = tmp_path / "plan.csv"
        file.write_text("\n".join([header, *lines]) + "\n")
        return checked(read_plan(spark, str(file), None), "plan.csv", AHEAD)

    return make


def test_lines_are_read_with_their_types_and_numbers(plan_of):
    plan = plan_of(
        "item_id,starts_on,ends_on,price_change,in_stock",
        " a ,2024-07-01,2024-07-03,-0.2,",
        ",2024-07-02,2024-07-02,,false",
    )
    first, second = rows(plan.orderBy("line"))
    assert set(first) == {"line", *TYPES}
    assert first["item_id"] == "a" and first["starts_on"] == date(2024, 7, 1) and first["price_change"] == -0.2
    assert second["item_id"] is None and second["in_stock"] is False and (first["line"], second["line"]) == (1, 2)


def test_a_table_is_a_plan_too(spark):
    spark.sql(
        "SELECT 'a' AS item_id, DATE'2024-07-01' AS starts_on, DATE'2024-07-02' AS ends_on, 2.5D AS price"
    ).createOrReplaceTempView("own_plan")
    (line,) = rows(checked(read_plan(spark, None, "own_plan"), "own_plan", AHEAD))
    assert line["price"] == 2.5 and line["ends_on"] == date(2024, 7, 2)
    spark.range(1, 30).selectExpr(
        "30 - id AS line", "CAST(id AS STRING) AS item_id", "0.5D AS price"
    ).createOrReplaceTempView("own_plan")
    assert [row["item_id"] for row in rows(read_plan(spark, None, "own_plan").orderBy("line"))] == [
        str(n) for n in range(29, 0, -1)
    ]
    spark.catalog.dropTempView("own_plan")


@pytest.mark.parametrize(
    ("header", "line", "told"),
    [
        (HEADER + "price", "a,2024-07-01,2024-07-03,cheap", "line 2: expected price to be a number, came price cheap"),
        (HEADER + "price", "a,01.07.2024,2024-07-03,2", "line 2: expected starts_on to be a day like 2026-01-31"),
        (HEADER + "price", "a,2024-07-05,2024-07-03,2", "line 2: expected a first day not after the last"),
        (HEADER + "price", "a,,2024-07-03,2", "line 2: expected starts_on on every line, came starts_on nothing"),
        (HEADER + "price", "a,2024-07-01,2024-07-03,0", "line 2: expected a price above 0, came price 0"),
        (HEADER + "price", "a,2024-07-01,2024-07-03,", "line 2: expected something to change"),
        (HEADER + "price", "a,2024-06-01,2024-06-30,2", "line 2: expected days that are forecast, from 2024-07-01"),
        (HEADER + "price", "a,2024-07-15,2024-07-20,2", "line 2: expected days that are forecast, from 2024-07-01"),
        (HEADER + "price_change,price", "a,2024-07-01,2024-07-03,0.1,2", "line 2: expected a price or a change of price, not both"),
        (HEADER + "price_change,price", "a,2024-07-01,2024-07-03,-1,", "line 2: expected a change of price above -1"),
        (HEADER + "price,promotion,promotion_depth", "a,2024-07-01,2024-07-03,,flyer,20", "line 2: expected promotion_depth from 0 to 1"),
        (HEADER + "price,promotion,promotion_depth", "a,2024-07-01,2024-07-03,2,,0.2", "line 2: expected a promotion where its depth"),
        (HEADER + "price,event", "a,2024-07-01,2024-07-03,,easter", "line 2: expected an event for all series"),
        (HEADER + "price,in_stock", "a,2024-07-01,2024-07-03,,true", "line 2: expected in_stock false"),
        (HEADER + "price,in_stock", "a,2024-07-01,2024-07-03,,maybe", "line 2: expected in_stock to be true or false"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_change_is_told(plan_of, header, line, told):
    blanks = "," * (header.count(",") - 3)
    good = {"price": f"a,2024-07-01,2024-07-03,2{blanks}", "price_change": f"a,2024-07-01,2024-07-03,0.1{blanks}"}
    with pytest.raises(SourceError) as error:
        plan_of(header, good[header.split(",")[3]], line)
    assert told in str(error.value) and "line 1" not in str(error.value)


def test_an_unknown_column_is_told_with_the_one_that_was_meant(plan_of):
    with pytest.raises(SourceError, match=r"came prise\. prise: did you mean price"):
        plan_of("item_id,starts_on,ends_on,prise", "a,2024-07-01,2024-07-03,2")


def test_a_plan_without_lines_and_one_that_is_not_there_are_told(plan_of, spark, tmp_path):
    with pytest.raises(SourceError, match="at least one line"):
        plan_of(HEADER + "price")
    with pytest.raises(SourceError, match=r"none\.csv: expected a readable CSV file"):
        read_plan(spark, str(tmp_path / "none.csv"), None)
    with pytest.raises(SourceError, match="nowhere: expected a readable table"):
        read_plan(spark, None, "nowhere")


@pytest.mark.parametrize(
    ("column", "value", "inputs", "priced", "told"),
    [
        (
            "promotion",
            "coupn",
            INPUTS,
            True,
            "expected one of coupon, flyer, none, came 'coupn'. Did you mean 'coupon'",
        ),
        ("promotion", "coupon", Inputs(), True, "expected a model that reads promotions"),
        ("event", "ester", INPUTS, True, "expected one of easter, came 'ester'. Did you mean 'easter'"),
        ("event", "world cup", Inputs(), True, "expected none, since the model has met no event, came 'world cup'"),
        ("price", "2", INPUTS, False, "expected a dataset that delivers the source `prices`"),
    ],
)
def test_what_the_model_has_not_learnt_is_refused(plan_of, sequences, column, value, inputs, priced, told):
    plan = plan_of(f"starts_on,ends_on,{column}", f"2024-07-01,2024-07-03,{value}")
    with pytest.raises(SourceError) as error:
        fits_model(plan, "plan.csv", inputs, sequences, priced)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("columns", "values", "inputs", "told"),
    [
        (
            "promotion,promotion_depth",
            "coupon,0.2",
            INPUTS,
            "promotion_depth: expected display, which promotions of the data had, came",
        ),
        (
            "promotion",
            "any",
            Inputs(planned=("promotion",)),
            "expected display beside it, since promotions of the data have no kinds",
        ),
    ],
)
def test_strengths_that_promotions_never_had_are_refused(plan_of, sequences, columns, values, inputs, told):
    with pytest.raises(SourceError) as error:
        fits_model(
            plan_of(f"starts_on,ends_on,{columns}", f"2024-07-01,2024-07-03,{values}"), "plan", inputs, sequences, True
        )
    assert told in str(error.value)


def test_what_the_model_has_learnt_is_taken(plan_of, sequences):
    for column, value in (("promotion", "coupon"), ("promotion", "none"), ("event", "easter"), ("price", "2")):
        fits_model(
            plan_of(f"starts_on,ends_on,{column}", f"2024-07-01,2024-07-03,{value}"), "plan", INPUTS, sequences, True
        )
    shown = plan_of("starts_on,ends_on,promotion,display", "2024-07-01,2024-07-03,any,1")
    fits_model(shown, "plan", Inputs(planned=("promotion",)), sequences, True)
