"""Numbers that JSON and Redis' scripts can carry: NaN and the infinities become null, wherever they came from. Pure."""

import math
from typing import Any


def finite(value: Any) -> Any:
    """The same value with None for every float that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
