"""Writes docs/tables.md: python -m forecasting.contracts > docs/tables.md"""

from forecasting.contracts.markdown import tables_markdown

print(tables_markdown(), end="")
