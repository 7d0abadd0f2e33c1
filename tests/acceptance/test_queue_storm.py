"""Random kills, freezes and restarts over real training jobs; benchmarks/storm.py does it for longer."""

from pathlib import Path

import pytest

from benchmarks.storm import run, sound
from tests.stack import Stack


@pytest.mark.timeout(600)
def test_a_storm_loses_repeats_and_changes_nothing(tmp_path: Path, tiny_data: Path) -> None:
    stack = Stack(tmp_path, tiny_data)
    try:
        result = run(stack, seconds=40, jobs=1000, seed=4, n_workers=2, mean_gap_s=3)
    finally:
        stack.close()
    assert result["accepted"] > 0
    assert result["blows_in_all"] >= 5
    assert sound(result), result
