import math

import pytest

from worker.data.events import number, read_events


def write(path, text: str):
    path.write_text(text)
    return path


def test_the_label_column_is_the_one_that_holds_a_wanted_label(tmp_path):
    path = write(tmp_path / "e.tsv", "onset\tduration\ttrial_type\tvalue\n1.5\tn/a\tgo\t7\n")
    assert list(read_events(path, ("go",)).label) == ["go"]
    assert list(read_events(path, ("7",)).label) == ["7"]


def test_a_missing_onset_is_nan_and_is_left_out_when_sorted(tmp_path):
    events = read_events(write(tmp_path / "e.tsv", "onset\tvalue\n3\tb\nn/a\tc\n1\ta\n"))
    assert math.isnan(events.onset_s[1])
    assert list(events.sorted().label) == ["a", "b"]


def test_short_rows_and_empty_lines_are_survived(tmp_path):
    events = read_events(write(tmp_path / "e.tsv", "onset\tvalue\tload\n\n1\ta\n\n2\tb\t9\n"))
    assert events.columns["load"] == ("", "9")


@pytest.mark.parametrize("text", ["", "onset\n1\n", "value\na\n", "\x00\x01\x02"])
def test_a_file_that_is_no_event_table_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match="onset and value"):
        read_events(write(tmp_path / "e.tsv", text))


@pytest.mark.parametrize("text", ["n/a", "", "soon", "inf", "-inf", "nan"])
def test_what_is_no_finite_number_is_missing(text):
    assert math.isnan(number(text))
