"""Rows as a pandas DataFrame, where pandas is installed; the client itself does not need it."""

from typing import Any


def as_table(rows: list[dict[str, Any]]) -> Any:
    """A DataFrame, or the rows as they are."""
    try:
        import pandas
    except ImportError:
        return rows
    return pandas.DataFrame(rows)
