"""The shape of a spec's windows, as far as it can be told without the recordings."""

import pytest

from jobs.spec import JobSpec
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
