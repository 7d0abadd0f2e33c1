"""The catalogue beside braindecode itself, and what it refuses."""

import pytest

from jobs import catalogue
from jobs.errors import SpecRefused, UnknownModel
from jobs.spec import Model


def check(name: str, n_chans: int | None = 129, n_times: int | None = 200, **params) -> None:
    catalogue.load().check(Model(name=name, params=params), n_chans, n_times)


def test_the_catalogue_names_braindecodes_models_and_their_arguments():
    from worker.training.catalogue import _params, braindecode, models_dict

    known = catalogue.load()
    assert known.braindecode == braindecode.__version__, (
        "run: python -m worker.training.catalogue > jobs/catalogue.json"
    )
    assert set(known.models) == set(models_dict)
    for name, model in models_dict.items():
        assert [p.name for p in known.models[name].params] == [p["name"] for p in _params(model)], name


def test_most_models_run_at_the_challenges_shape():
    works = [model for model in catalogue.load().models.values() if model.works]
    assert len(works) >= 45
    assert all(model.step_ms and model.n_params for model in works)


@pytest.mark.parametrize("name", ["SCCNet", "EEGNeX", "EEGNet", "Deep4Net", "EEGConformer"])
def test_the_usual_models_pass(name):
    check(name)
    check(name, None, None)


def test_a_typing_error_gets_the_right_name():
    with pytest.raises(UnknownModel) as refused:
        check("EEGNext")
    assert "EEGNeX" in refused.value.hint


@pytest.mark.parametrize(
    ("name", "shape", "params"),
    [
        ("EEGNeX", (129, 10), {}),
        ("EEGNet", (129, 20), {}),
        ("Labram", (129, 200), {}),
        ("EMG2QwertyNet", (129, 200), {}),
        ("EEGNet", (129, 200), {"F1": "8"}),
        ("EEGNet", (129, 200), {"F1": True}),
        ("EEGNet", (129, 200), {"batch_norm_affine": 1}),
        ("EEGNet", (129, 200), {"drop_probability": 0.1}),
        ("EEGNet", (129, 200), {"sfreq": 100}),
    ],
)
def test_what_cannot_run_is_refused(name, shape, params):
    with pytest.raises(SpecRefused):
        check(name, *shape, **params)


def test_shapes_are_not_judged_where_parameters_change_them():
    check("FBLightConvNet", 129, 200, win_len=50)
    with pytest.raises(SpecRefused):
        check("FBLightConvNet", 129, 200)
