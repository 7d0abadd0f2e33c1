"""The shape of a spec's windows, as far as it can be told without the recordings."""

import pytest

from jobs.spec import JobSpec
from service import owncode
from service.door import shape

EVENTS = {"kind": "events", "mapping": {"stimulus": ["s"], "response": ["r"]}}
FIXED = {"kind": "fixed", "size_s": 4, "crop_s": 2}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"task": "challenge1"}, (129, 200)),
        ({"task": "challenge2"}, (129, 200)),
        ({"task": {**EVENTS, "size_s": 1.5, "sfreq": 128}}, (129, 192)),
        ({"task": {**EVENTS, "channels": ["Fz", "Cz"]}}, (2, 200)),
        ({"task": {**EVENTS, "channels": "all"}}, (None, 200)),
        ({"task": {**EVENTS, "sfreq": None}}, (129, None)),
        ({"task": {**FIXED, "crop_s": None}}, (129, 400)),
        ({"task": "challenge1", "preprocess": [{"step": "pick", "channels": ["E1"]}]}, (1, 200)),
        ({"task": "challenge1", "preprocess": [{"step": "resample", "sfreq": 50}]}, (129, 100)),
        ({"task": "challenge1", "preprocess": [{"step": "custom", "function": "a:b"}]}, (None, None)),
    ],
)
def test_the_shape_follows_windows_and_preprocessing(spec, expected):
    assert shape(JobSpec.model_validate(spec)) == expected


SOURCE = """
from braindecode.models import EEGNeX as Theirs
class Net: pass
def fn(x, sfreq): return x
Other = Net
"""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mine:Net", None),
        ("mine:Other", None),
        ("mine:Theirs", None),
        ("mine:fn", None),
        ("mine:Nett", "mine.py has no Nett; it has Theirs, Net, fn, Other"),
        ("yours:Net", "there is no yours.py; there is broken.py, mine.py"),
        ("broken:Net", "broken.py cannot be read: unmatched ')' (broken.py, line 1)"),
    ],
)
def test_code_of_ones_own_is_looked_for_by_name_and_not_run(tmp_path, name, reason):
    (tmp_path / "mine.py").write_text(SOURCE + "raise SystemExit")
    (tmp_path / "broken.py").write_text("))")
    assert owncode.why_not(tmp_path, name) == reason


def test_a_folder_that_only_the_workers_see_is_left_to_them(tmp_path):
    assert owncode.why_not(tmp_path / "elsewhere", "mine:Net") is None
