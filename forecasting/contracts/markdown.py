"""The contracts, and the views over their tables, as a document."""

from __future__ import annotations

from forecasting.contracts import TABLES, Source
from forecasting.views import VIEWS


def tables_markdown() -> str:
    """The text of `docs/tables.md`."""
    lines = [
        "# Tables",
        "",
        "Written from `forecasting/contracts` by `python -m forecasting.contracts > docs/tables.md`; a test holds the two together.",
        "Units are sales units of the item unless a column says otherwise. Every table is a Delta folder `<lake.path>/<table>` and a",
        "table `<lake.catalog>.<lake.schema>.<table>`. Tables with quantiles have one column per level of `forecast.quantiles`: `p10`",
        "to `p90` by default.",
    ]
    for table in TABLES.values():
        lines += ["", f"## {table.name}", "", f"{table.doc} Layer: {table.layer}."]
        lines += [f"Key: {', '.join(f'`{name}`' for name in table.key)}." if table.key else "No key."]
        roles = any(column.role for column in table.columns)
        lines += [
            "",
            "| column | type | null |" + " role |" * roles + " meaning |",
            "|---|---|---|---|" + "---|" * roles,
        ]
        columns = table.columns_with(("p10 … p90",))
        for c in columns:
            role = f" {c.role or ''} |" if roles else ""
            lines.append(f"| `{c.name}` | {c.type} | {'no' if c.required else 'yes'} |{role} {c.doc} |")
        if isinstance(table, Source) and table.rules:
            lines += ["", "| rule | severity | expected |", "|---|---|---|"]
            lines += [f"| `{rule.name}` | {rule.severity} | {rule.expected} |" for rule in table.rules]
        if table.constraints:
            lines += ["", "| constraint | expected |", "|---|---|"]
            lines += [f"| `{rule.name}` | {rule.expected} |" for rule in table.constraints]
        if table.feed:
            lines += ["", "It keeps a feed of its changes (`table_changes`)."]
    lines += [
        "",
        "# Views",
        "",
        "`forecasting sql` makes them known together with the tables.",
    ]
    for name, view in VIEWS.items():
        lines += ["", f"## {name}", "", f"{view.doc} Needs: {', '.join(f'`{table}`' for table in view.needs)}."]
        lines += ["", "| column | meaning |", "|---|---|"]
        for column, meaning in view.columns.items():
            lines.append(f"| `{column}` | {meaning} |")
            if view.quantiles and column == "mean":
                lines.append("| `p10 … p90` | quantiles of demand, units |")
    return "\n".join(lines) + "\n"
