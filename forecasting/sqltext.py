"""Values as text of Spark SQL, for the statements that take no parameters."""

from __future__ import annotations

from typing import Any


def text_literal(text: str) -> str:
    """A string, in quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def among(column: str, value: Any) -> str:
    """Condition that a column has a value, or one of a list."""
    values = value if isinstance(value, list | tuple | set) else [value]
    return f"`{column}` IN ({', '.join(_literal(each) for each in values)})"


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | int | float) else text_literal(str(value))
