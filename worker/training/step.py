"""The step: (state at k, seed, k) -> state at k+1. One function for every device, for the loop and for a moved batch.

A step that is not finite leaves no trace. One that runs alone is judged before it writes: `ok` turns false on the
device and every write after it is a no-op. Captured steps, where each launch is a cost, write unjudged: their window
is judged and taken back whole. Knows neither where the batch comes from nor what follows a fault.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from jobs.spec import Precision, Training
from worker.training.shadow import Shadow, Snapshot
from worker.training.state import GROWTH_STEPS, TrainingState

LOSSES: dict[str, type[nn.Module]] = {"mse": nn.MSELoss, "l1": nn.L1Loss, "huber": nn.HuberLoss}
LEAST_SCALE = 1.0

Probe = Callable[[str], None]


def no_probe(_where: str) -> None:
    """Nothing happens between the parts of a step."""


class Stepper:
    """Runs steps on one state. `probe(where)` is called before forward, backward and optimizer, for drills."""

    def __init__(self, state: TrainingState, training: Training, precision: Precision, probe: Probe = no_probe) -> None:
        self.state, self.precision, self._probe = state, precision, probe
        self._forward: Callable[[Tensor], Tensor] = state.model
        self._loss = LOSSES[training.loss]()
        self._clip = training.gradient_clip
        self._parameters = [p for p in state.model.parameters() if p.requires_grad]
        spoiled = list(state.model.buffers())
        self._shadow = Shadow(spoiled if state.fused else [*spoiled, *self._parameters, *self._moments()])
        self._bad, self._one = torch.zeros((), device=state.device), torch.ones((), device=state.device)
        self._norm_sum = torch.zeros((), device=state.device)
        self._before_window: Snapshot | None = None
        self._judged: list[Tensor] = []
        self._window_open = self._begun = False

    def __call__(self, x: Tensor, y: Tensor) -> None:
        """x: (B, n_chans, n_times) microvolts, y: (B,) targets. Adds 1 to state.step if the step was finite."""
        self._shadow.keep()
        self._begun = True
        loss = self._differentiate(x, y)
        self._probe("optimizer")
        self._commit(loss)
        self._begun = False

    def in_window(self, x: Tensor, y: Tensor) -> None:
        """The same step, unjudged. But for fp16: its loss scale needs a judgement of every step."""
        if self.precision is Precision.FP16:
            self(x, y)
        else:
            self._commit_unjudged(self._differentiate(x, y))

    def open_window(self) -> None:
        """Keeps the state that a window of steps starts from."""
        self._norm_sum.zero_()
        if self._before_window is None:
            self._before_window = Snapshot(self.state.changing())
            self._judge_by_what_is_finite()
        self._before_window.keep()
        self._window_open = True

    @torch.no_grad()
    def judge_window(self) -> None:
        """`ok` falls where the state is not finite: what once is stays so, in a weight, a moment or a sum."""
        if self.precision is not Precision.FP16:
            self._judge(self._judged)

    def close_window(self) -> None:
        """Its steps count: there is no way back."""
        self._window_open = False

    def undo_window(self) -> bool:
        """The state is again the one the open window started from; False where none is open."""
        if not self._window_open or self._before_window is None:
            return False
        self.close_window()
        self._before_window.put_back()
        self.state.optimizer.zero_grad(set_to_none=True)
        self._judge_by_what_is_finite()
        return True

    def compile(self, on: bool) -> None:
        """Lets torch.compile fuse the model's operations, or takes that back; compiling happens in the next step."""
        self._forward = torch.compile(self.state.model, dynamic=False) if on else self.state.model

    def restart(self, tensors: dict[str, Tensor]) -> None:
        """The state is `tensors`, and no step is under way."""
        self._begun = False
        self.state.optimizer.zero_grad(set_to_none=True)
        self.state.restore(tensors)

    def undo(self) -> None:
        """After an exception in or before a step: the state is again the one before it."""
        if self._begun:
            self._shadow.put_back()
        self._begun = False
        self.state.optimizer.zero_grad(set_to_none=True)

    def _judge_by_what_is_finite(self) -> None:
        """A window is judged by what was finite before it: a mask of -inf is no fault."""
        floats = [t.detach() for t in self.state.changing() if t.is_floating_point()]
        self._judged = [*(t for t in floats if bool(torch.isfinite(t).all())), self._norm_sum]

    def _differentiate(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss, detached; gradients lie in the parameters."""
        self.state.model.train()
        self._probe("forward")
        with self._autocast():
            loss = self._loss(self._forward(x).reshape(-1).to(y.dtype), y)
        self._probe("backward")
        self._backward(loss)
        return loss.detach()

    def _backward(self, loss: Tensor) -> None:
        scaled = loss * self.state.scale if self.precision is Precision.FP16 else loss
        scaled.backward()
        if self.precision is Precision.FP16:
            inverse = 1.0 / self.state.scale
            torch._foreach_mul_([p.grad for p in self._parameters if p.grad is not None], inverse)

    @torch.no_grad()
    def _commit(self, loss: Tensor) -> None:
        state = self.state
        go = self._judge([loss, *self._clipped()])
        self._update(go)
        torch.where(go, state.loss_sum + loss.float(), state.loss_sum, out=state.loss_sum)
        state.step.add_(state.ok)
        state.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _commit_unjudged(self, loss: Tensor) -> None:
        state = self.state
        values = self._clipped()
        if self._clip:
            self._norm_sum.add_(values[0])
        if state.fused:
            state.optimizer.found_inf = None  # type: ignore[attr-defined]
        state.optimizer.step()
        state.loss_sum.add_(loss.float())
        state.step.add_(1)
        state.optimizer.zero_grad(set_to_none=True)

    def _clipped(self) -> list[Tensor]:
        """The gradients; clipped in place where the spec asks for it, and then their norm before that alone."""
        grads = [p.grad for p in self._parameters if p.grad is not None]
        if not self._clip:
            return grads
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        torch._foreach_mul_(grads, torch.clamp(self._clip / (norm + 1e-6), max=1.0))
        return [norm]

    def _judge(self, values: list[Tensor]) -> Tensor:
        """Whether to update, on the device, and in `_bad` the opposite; `ok` falls where a value is not finite."""
        state = self.state
        if self.precision is not Precision.FP16:
            torch.logical_not(state.ok, out=self._bad)
            self._mark(values)
            return torch.logical_not(self._bad, out=state.ok)
        self._bad.zero_()
        self._mark(values)
        finite = self._bad == 0
        state.ok.logical_and_(finite | self._rescale(finite))
        go = state.ok & finite
        torch.logical_not(go, out=self._bad)
        return go

    def _mark(self, values: list[Tensor]) -> None:
        """1 into `_bad` where a value is not finite: the check of torch's GradScaler, one launch for all of them."""
        if self._bad.device.type in ("cpu", "cuda"):
            torch._amp_foreach_non_finite_check_and_unscale_(values, self._bad, self._one)
        else:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(values)))
            self._bad.logical_or_(~torch.isfinite(norm))

    def _update(self, go: Tensor) -> None:
        """The optimizer's step where `go`, else nothing at all. On the CPU `go` is read at no cost, elsewhere it gates
        every write, so that the host need not wait."""
        optimizer = self.state.optimizer
        known_good = go.is_cpu and bool(go)
        if self.state.fused:
            optimizer.found_inf = None if known_good else self._bad  # type: ignore[attr-defined]
        optimizer.step()
        if not known_good:
            self._shadow.put_back_unless(go)

    def _rescale(self, finite: Tensor) -> Tensor:
        """fp16's loss scale: halved by an overflow, doubled after 2000 good steps; whether this step is one to skip."""
        state = self.state
        state.scale_age.copy_(torch.where(finite, state.scale_age + 1, torch.zeros_like(state.scale_age)))
        grown = state.scale_age >= GROWTH_STEPS
        state.scale.mul_(torch.where(finite, torch.where(grown, 2.0, 1.0), 0.5))
        state.scale_age.mul_(~grown)
        return ~finite & (state.scale >= LEAST_SCALE)

    def _autocast(self) -> AbstractContextManager:
        half = {Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}.get(self.precision)
        return torch.autocast(self.state.device.type, dtype=half) if half else nullcontext()

    def _moments(self) -> list[Tensor]:
        return [value for p in self._parameters for value in self.state.optimizer.state[p].values()]
