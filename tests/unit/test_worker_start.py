"""`python -m worker` becomes Celery with the environment of its pool."""

import os
import sys

import pytest

from worker import __main__ as start


def environment_of(pool: str, monkeypatch: pytest.MonkeyPatch, device: str = "cuda:0") -> dict[str, str]:
    became: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", os.environ.copy() | {"EEGQ_CHOSEN_DEVICE": device})
    monkeypatch.setattr(os, "execv", lambda *_: became.update(os.environ))
    monkeypatch.setattr(sys, "argv", ["worker", "--pool", pool])
    monkeypatch.setattr(start, "refuse_another_schema", lambda: None)
    monkeypatch.setattr(start, "choose_device", lambda: True)
    start.main()
    return became


@pytest.mark.parametrize("pool", ["cpu", "batch", "errand", "gpu"])
def test_who_works_on_the_cpu_sees_no_gpu(pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such trainers are forked: with a GPU in sight torch asks CUDA, which does not survive a fork."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    became = environment_of(pool, monkeypatch, "standin:0")
    assert (became["CUDA_VISIBLE_DEVICES"], became["HIP_VISIBLE_DEVICES"]) == ("-1", "-1")


def test_the_gpu_pool_sees_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert environment_of("gpu", monkeypatch)["CUDA_VISIBLE_DEVICES"] == "1"
