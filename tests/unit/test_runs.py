"""Reading a run's folder: tails, thinning, half-written lines."""

import pytest

from service.runs import Runs, newest_per_step, thinned


@pytest.mark.parametrize(("n", "text"), [(1, "c\n"), (2, "b\nc\n"), (9, "a\nb\nc\n")])
def test_a_tail_is_the_last_lines(tmp_path, n, text):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "log.txt").write_text("a\nb\nc\n")
    assert Runs(tmp_path).tail("r", n) == text


def test_a_tail_of_a_long_log_reads_its_end_only(tmp_path):
    (tmp_path / "r").mkdir()
    lines = [f"line {i:07}\n" for i in range(50_000)]
    (tmp_path / "r" / "log.txt").write_text("".join(lines))
    assert Runs(tmp_path).tail("r", 7_000) == "".join(lines[-7_000:])


@pytest.mark.parametrize("n", [1, 2, 3, 10, 99, 100, 200])
def test_thinning_keeps_the_last_row_and_no_more_than_asked(n):
    rows = [{"step": i} for i in range(100)]
    kept = thinned(rows, n)
    assert len(kept) == min(n, 100)
    assert kept[-1] == rows[-1]
    assert n == 1 or kept[0] == rows[0]


def test_rows_of_a_later_attempt_replace_the_earlier_ones():
    rows = [{"step": 1, "a": 1}, {"step": 2, "a": 1}, {"step": 2, "a": 2}, {"step": 3, "a": 2}]
    assert [row["a"] for row in newest_per_step(rows)] == [1, 2, 2]


def test_rows_that_are_no_objects_are_left_out(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "metrics.jsonl").write_text('{"step": 1}\n[1]\n\n{"st')
    assert Runs(tmp_path).rows("r", "metrics.jsonl") == [{"step": 1}]
