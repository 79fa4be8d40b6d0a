import re
from pathlib import Path

import pytest

from forecasting.contracts import LINEAGE, SOURCES, TABLES
from forecasting.contracts.markdown import tables_markdown

DOCS = Path(__file__).parents[2] / "docs" / "tables.md"
QUANTILES = ("p10", "p50", "p90")


def test_the_documentation_is_the_contract():
    assert DOCS.read_text(encoding="utf-8") == tables_markdown(), (
        "run: python -m forecasting.contracts > docs/tables.md"
    )


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_names_are_unique_and_keys_and_skipping_columns_exist(table):
    columns = {column.name: column for column in table.columns_with(QUANTILES)}
    assert len(columns) == len(table.columns_with(QUANTILES))
    assert set(table.key) | set(table.skipping) <= set(columns)
    assert all(columns[name].required for name in table.key)
    assert all(column.doc for column in columns.values())


def test_every_table_says_which_run_wrote_it():
    assert all("run_id" in {column.name for column in table.columns} for table in TABLES.values())


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_rules_are_over_the_sources_own_columns(source):
    columns = {column.name for column in source.columns} - set(LINEAGE)
    assert len({rule.name for rule in source.rules}) == len(source.rules)
    for rule in source.rules:
        named = set(re.findall(r"[a-z_]+", re.sub(r"'[^']*'|[a-z_]+\(", "", rule.expression)))
        assert named - {"e"} <= columns, rule.name
        assert rule.shown and set(rule.shown) <= named & columns
        assert rule.expected and rule.severity in ("error", "warning")


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_day_of_a_source_is_one_of_its_columns_and_plausible(source):
    types = {column.name: column.type for column in source.columns}
    assert source.day is None or types[source.day] == "date"
    assert source.day in (None, "ends_on") or "date_plausible" in {rule.name for rule in source.rules}


def test_every_source_can_say_which_file_a_row_is_from():
    assert all("source_file" in {column.name for column in source.columns} for source in SOURCES.values())


def test_time_zones_are_read_before_the_sales_that_need_them():
    assert list(SOURCES).index("locations") < list(SOURCES).index("sales")


def test_quantile_columns_stand_behind_the_mean():
    names = [column.name for column in TABLES["forecasts"].columns_with(QUANTILES)]
    at = names.index("mean")
    assert names[at : at + 4] == ["mean", *QUANTILES]
    assert TABLES["demand"].columns_with(QUANTILES) == TABLES["demand"].columns
