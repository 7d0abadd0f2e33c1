"""What a model starts from: an earlier job's weights, the mean of the targets in a head that is fresh."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from jobs.spec import Init
from worker.training import initial
from worker.training.errors import SpecCannotRun

JOB = "job_0123456789abcdef"


def model() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(3, 4, 5), nn.Flatten(), nn.Linear(8, 1))


@pytest.fixture
def earlier(tmp_path) -> dict[str, torch.Tensor]:
    weights = model().state_dict()
    (tmp_path / JOB / "results").mkdir(parents=True)
    save_file(weights, tmp_path / JOB / "results" / "weights.safetensors")
    return weights


def test_a_head_that_was_not_taken_starts_at_the_mean_of_its_own_targets(earlier, tmp_path):
    fresh = model()
    taken = initial.load(fresh, Init(job=JOB, exclude=("2.*",)), tmp_path)
    assert taken == {"0.weight", "0.bias"}
    assert torch.equal(fresh.state_dict()["0.weight"], earlier["0.weight"])
    assert initial.start_at_mean(fresh, 1.58, taken)
    assert fresh.state_dict()["2.bias"].item() == pytest.approx(1.58)


def test_a_head_that_was_taken_stays_what_it_was(earlier, tmp_path):
    fresh = model()
    assert not initial.start_at_mean(fresh, 1.58, initial.load(fresh, Init(job=JOB), tmp_path))
    assert torch.equal(fresh.state_dict()["2.bias"], earlier["2.bias"])


def test_weights_of_which_nothing_fits_are_refused(earlier, tmp_path):
    with pytest.raises(SpecCannotRun, match="no tensor"):
        initial.load(model(), Init(job=JOB, include=("encoder.*",)), tmp_path)
