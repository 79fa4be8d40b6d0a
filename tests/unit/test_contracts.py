from pathlib import Path

import pytest

from forecasting.contracts import SOURCES, TABLES, tables_markdown
from forecasting.ingest.rules import RULES

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


def test_every_source_has_rules_over_its_own_columns():
    assert set(RULES) == set(SOURCES)
    for name, rules in RULES.items():
        columns = {column.name for column in SOURCES[name].columns}
        assert all(set(rule.shown) <= columns for rule in rules)


def test_quantile_columns_stand_behind_the_mean():
    names = [column.name for column in TABLES["forecasts"].columns_with(QUANTILES)]
    at = names.index("mean")
    assert names[at : at + 4] == ["mean", *QUANTILES]
    assert TABLES["demand"].columns_with(QUANTILES) == TABLES["demand"].columns
