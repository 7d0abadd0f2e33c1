"""A step that is not finite leaves no trace, whatever the optimizer, and costs few launches where it is finite."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from jobs.spec import Precision, Training
from worker.training.shadow import Shadow
from worker.training.state import TrainingState
from worker.training.step import Stepper

OPTIMIZERS = ["adamw", "adamax", "sgd"]


class Net(nn.Module):
    def __init__(self, n_norms: int = 1) -> None:
        super().__init__()
        self.norms = nn.Sequential(*(nn.BatchNorm1d(3) for _ in range(n_norms)))
        self.out = nn.Linear(3 * 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norms(x).flatten(1))


def stepper_of(optimizer: str = "adamw", precision: Precision = Precision.FP32, **training: Any) -> Stepper:
    torch.manual_seed(0)
    options = Training(optimizer=optimizer, **training)
    return Stepper(TrainingState(Net(), options, torch.device("cpu")), options, precision)


def batch(seed: int, bad: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 3, 8, generator=generator)
    x[0, 0, 0] = float("nan") if bad else x[0, 0, 0]
    return x, torch.randn(5, generator=generator)


def values(stepper: Stepper) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in stepper.state.tensors().items()}


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_that_is_not_finite_leaves_no_trace(optimizer: str, clip: float | None) -> None:
    stepper = stepper_of(optimizer, gradient_clip=clip)
    stepper(*batch(1))
    before = values(stepper)
    stepper(*batch(2, bad=True))
    after = values(stepper)
    assert not after.pop("ok")
    assert before.pop("ok")
    torch.testing.assert_close(after, before, rtol=0, atol=0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_after_it_nothing_is_written_until_someone_has_looked(optimizer: str) -> None:
    stepper = stepper_of(optimizer)
    stepper(*batch(1, bad=True))
    before = values(stepper)
    stepper(*batch(2))
    torch.testing.assert_close(values(stepper), before, rtol=0, atol=0)
    stepper.state.ok.fill_(True)
    stepper(*batch(2))
    assert int(stepper.state.step) == 1
    assert not torch.equal(values(stepper)["model.out.weight"], before["model.out.weight"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_finite_steps_are_those_of_a_plain_loop(optimizer: str) -> None:
    stepper = stepper_of(optimizer, lr=0.01)
    plain = TrainingState(
        copy.deepcopy(stepper.state.model), Training(optimizer=optimizer, lr=0.01), torch.device("cpu")
    )
    losses = []
    for seed in range(4):
        x, y = batch(seed)
        stepper(x, y)
        loss = nn.functional.mse_loss(plain.model(x).reshape(-1), y)
        loss.backward()
        plain.optimizer.step()
        plain.optimizer.zero_grad()
        losses.append(loss.item())
    torch.testing.assert_close(dict(stepper.state.model.state_dict()), dict(plain.model.state_dict()))
    assert float(stepper.state.loss_sum) == pytest.approx(sum(losses))


def test_an_overflow_in_fp16_is_skipped_and_halves_the_scale() -> None:
    stepper = stepper_of(precision=Precision.FP16)
    before = values(stepper)
    x, y = batch(1)
    stepper.state.scale.fill_(1e38)
    stepper(1e4 * x, y)
    assert bool(stepper.state.ok)
    assert int(stepper.state.step) == 1
    assert float(stepper.state.scale) == pytest.approx(0.5e38)
    assert torch.equal(values(stepper)["model.out.weight"], before["model.out.weight"])


def test_an_exception_in_a_step_is_undone() -> None:
    stepper = stepper_of()
    before = values(stepper)

    def fall(where: str) -> None:
        if where == "optimizer":
            raise RuntimeError("fallen")

    stepper._probe = fall
    with pytest.raises(RuntimeError, match="fallen"):
        stepper(*batch(1))
    assert int(stepper.state.model.norms[0].num_batches_tracked) == 1
    stepper.undo()
    torch.testing.assert_close(values(stepper), before, rtol=0, atol=0)


def test_what_failed_before_a_step_began_undoes_nothing() -> None:
    stepper = stepper_of("adamax")
    stepper(*batch(1))
    stepper.in_window(*batch(2))
    stepper.in_window(*batch(3))
    before = values(stepper)
    stepper.undo()
    torch.testing.assert_close(values(stepper), before, rtol=0, atol=0)


def test_a_buffer_that_never_was_finite_is_no_fault_of_a_window() -> None:
    stepper = stepper_of()
    stepper.state.model.register_buffer("mask", torch.full((3,), float("-inf")))
    stepper.open_window()
    stepper.in_window(*batch(1))
    stepper.judge_window()
    assert bool(stepper.state.ok)
    stepper.in_window(*batch(2, bad=True))
    stepper.judge_window()
    assert not bool(stepper.state.ok)


class Launches(TorchDispatchMode):
    n = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n += "view" not in str(function) and "detach" not in str(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("part", ["keep", "put_back", "put_back_unless"])
def test_a_shadow_of_many_tensors_costs_as_much_as_one_of_few(part: str) -> None:
    counts = []
    for n_norms in (1, 20):
        shadow = Shadow(Net(n_norms).buffers())
        arguments = [torch.tensor(True)] if part == "put_back_unless" else []
        with Launches() as launches, torch.no_grad():
            getattr(shadow, part)(*arguments)
        counts.append(launches.n)
    assert counts[0] == counts[1] <= 4


def test_tensors_in_a_block_stay_who_they_are() -> None:
    net = Net(2)
    before = {name: (t, t.clone()) for name, t in net.state_dict(keep_vars=True).items()}
    shadow = Shadow([*net.buffers(), *net.parameters()])
    for name, t in net.state_dict(keep_vars=True).items():
        was, value = before[name]
        assert t is was
        assert torch.equal(t, value)
    with torch.no_grad():
        net.out.weight.zero_()
    shadow.put_back()
    assert torch.equal(net.out.weight, before["out.weight"][1])
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.norms[0].running_mean.add_(1)
    assert not torch.equal(twin.norms[0].running_mean, net.norms[0].running_mean)


def test_tensors_that_share_their_memory_go_on_sharing_it() -> None:
    whole = torch.arange(6.0)
    first, second = whole[:3], whole[3:]
    shadow = Shadow([first, second])
    whole.add_(1)
    assert torch.equal(first, torch.tensor([1.0, 2.0, 3.0]))
    shadow.put_back()
    assert torch.equal(whole, torch.arange(6.0))


@pytest.mark.parametrize("part", ["put_back", "put_back_unless"])
def test_a_tensor_that_was_given_other_memory_is_put_back_too(part: str) -> None:
    """As models do that clamp their own parameters: `p.data = clamp(p)`, before a step's copy and after it."""
    moves, stays = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([[3.0], [4.0]]))
    shadow = Shadow([moves, stays])
    with torch.no_grad():
        moves.data = moves * 10
        shadow.keep()
        moves.data = moves * 10
        stays.add_(1)
        getattr(shadow, part)(*([torch.tensor(False)] if part == "put_back_unless" else []))
    assert moves.tolist() == [10.0, 20.0]
    assert stays.tolist() == [[3.0], [4.0]]
