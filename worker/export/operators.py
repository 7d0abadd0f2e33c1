"""Torch's operators that were tried with torch 2.2.2, the challenge platform's. Knows names only."""

from collections.abc import Iterable

TRIED: frozenset[str] = frozenset()


def untried(operators: Iterable[str]) -> list[str]:
    """A warning, where there are some that were not."""
    new = sorted(set(operators) - TRIED)
    return [f"not tried with torch 2.2: {', '.join(new)}"] if new else []
