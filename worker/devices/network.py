"""Device tests of what a model is made of, at the job's shapes: convolutions, normalisation, whole training steps."""

import time
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.spec import Precision, Training
from worker.devices.rig import FP32, Rig, judge, relative_error
from worker.training.dropout import count_dropout
from worker.training.state import TrainingState
from worker.training.step import Stepper

CONV = 1e-4  # relative L2 error allowed of a convolution in fp32, TF32 off
TRAINED = 1e-3  # of the loss and the weights after 20 steps
STEPS = 20
NET_SHAPE = (16, 200)  # n_chans, n_times of the small net
BASES = 2  # different windows in a batch; the others are these, scaled


@dataclass(frozen=True)
class Layer:
    """A convolution of EEGNeX on (batch, inputs, height, width)."""

    inputs: int
    outputs: int
    kernel: tuple[int, int]
    height: int
    width: int
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    groups: int = 1

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(x, weight, None, 1, self.padding, (1, self.dilation), self.groups)


def layers(rig: Rig) -> dict[str, Layer]:
    """EEGNeX's (Chen et al., 2024) five, with 'same' padding rounded down to be symmetric."""
    chans, times = rig.shapes.n_chans, rig.shapes.n_times
    later = max(16, times // 4)
    return {
        "1 to 8, 1x64": Layer(1, 8, (1, 64), chans, times, (0, 31)),
        "8 to 32, 1x64": Layer(8, 32, (1, 64), chans, times, (0, 31)),
        "depthwise over channels": Layer(32, 64, (chans, 1), chans, times, groups=32),
        "64 to 32, 1x16, dilated 2": Layer(64, 32, (1, 16), 1, later, (0, 15), 2),
        "32 to 8, 1x16, dilated 4": Layer(32, 8, (1, 16), 1, later, (0, 30), 4),
    }


def convolution(rig: Rig) -> str:
    """Forward and backward of every layer, at the job's batch, or the largest that fits."""
    batch = rig.batch
    while True:
        try:
            worst = max(_convolve(rig, name, layer, batch) for name, layer in layers(rig).items())
            return f"batch {batch} x {rig.shapes.n_chans} x {rig.shapes.n_times}, worst {worst:.0e}"
        except torch.OutOfMemoryError:
            batch //= 2
            if batch < BASES:
                raise
            torch.cuda.empty_cache()


def _convolve(rig: Rig, name: str, layer: Layer, batch: int) -> float:
    """A batch of a few windows scaled by powers of two: the reference needs those few, yet each output is checked."""
    x = _batch(rig, batch, (layer.inputs, layer.height, layer.width))
    weight = rig.normal(layer.outputs, layer.inputs // layer.groups, *layer.kernel) * 0.1
    dy = _batch(rig, batch, tuple(layer(x.bases[:1], weight).shape[1:]))
    there_x, there_w = rig.leaf(x.all()), rig.leaf(weight)
    y = layer(there_x, there_w)
    y.backward(rig.up(dy.all()))
    assert there_x.grad is not None
    assert there_w.grad is not None
    want_y, want_dx, want_dw = _reference(layer, x, dy, weight)
    errors = (
        judge(f"{name}: forward", _error_of_scaled(y.detach(), x, want_y), CONV),
        judge(f"{name}: gradient of the input", _error_of_scaled(there_x.grad, dy, want_dx), CONV),
        rig.close(f"{name}: gradient of the weights", there_w.grad, want_dw, CONV),
    )
    return max(errors)


@dataclass(frozen=True)
class _Scaled:
    """Windows i = bases[i % BASES] * scales[i]. bases: (BASES, ...); scales: (batch,) powers of two."""

    bases: Tensor
    scales: Tensor

    def all(self) -> Tensor:
        repeated = self.bases.repeat(len(self.scales) // BASES, *[1] * (self.bases.dim() - 1))
        return repeated * self.scales.view(-1, *[1] * (self.bases.dim() - 1))


def _batch(rig: Rig, batch: int, shape: tuple[int, ...]) -> _Scaled:
    n = batch // BASES * BASES
    return _Scaled(rig.normal(BASES, *shape), torch.tensor([0.5, 1.0, 2.0])[rig.integers(3, n)])


def _reference(layer: Layer, x: _Scaled, dy: _Scaled, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """In float64 on the CPU: outputs and input gradients of the bases, weight gradient of the batch."""
    outputs, input_gradients, weight_gradient = [], [], torch.zeros_like(weight, dtype=torch.float64)
    shares = (x.scales * dy.scales).double().view(-1, BASES).sum(0)
    for i in range(BASES):
        base, w = x.bases[i : i + 1].double().requires_grad_(), weight.double().requires_grad_()
        y = layer(base, w)
        dx, dw = torch.autograd.grad(y, (base, w), dy.bases[i : i + 1].double())
        outputs.append(y.detach())
        input_gradients.append(dx)
        weight_gradient += shares[i] * dw
    return torch.cat(outputs), torch.cat(input_gradients), weight_gradient


def _error_of_scaled(got: Tensor, scaled: _Scaled, want: Tensor) -> float:
    """The largest relative error of a window, computed where `got` lies."""
    scales = scaled.scales.to(got.device).view(-1, BASES, *[1] * (got.dim() - 1))
    want_here = want.float().to(got.device)
    difference = got.view(-1, BASES, *got.shape[1:]) / scales - want_here
    errors = difference.flatten(2).norm(dim=2) / want_here.flatten(1).norm(dim=1)
    return float(errors.amax()) if bool(torch.isfinite(errors).all()) else float("nan")


def batch_norm(rig: Rig) -> str:
    """Forward, backward and the running statistics, which a failed step would leave dirty."""
    x, dy = (rig.normal(rig.batch, 32, 1, rig.shapes.n_times) * 3 + 1 for _ in range(2))
    there, exact = nn.BatchNorm2d(32).to(rig.device.torch), nn.BatchNorm2d(32).double()
    a, b = rig.leaf(x), x.double().requires_grad_()
    y, want = there(a), exact(b)
    y.backward(rig.up(dy))
    want.backward(dy.double())
    assert a.grad is not None
    assert b.grad is not None
    errors = [
        rig.close("forward", y, want),
        rig.close("gradient", a.grad, b.grad, CONV),
        rig.close("running mean", there.running_mean, exact.running_mean),  # type: ignore[arg-type]
        rig.close("running variance", there.running_var, exact.running_var),  # type: ignore[arg-type]
    ]
    return f"worst {max(errors):.0e}"


def repeats(rig: Rig) -> str:
    """The same work five times gives the same bits: a card that does not is broken, or never deterministic."""
    layer = layers(rig)["64 to 32, 1x16, dilated 2"]
    x, w = rig.up(rig.normal(rig.batch, 64, 1, layer.width)), rig.up(rig.normal(32, 64, 1, 16))
    a = rig.up(rig.normal(1024, 1024))
    first = None
    for _ in range(5):
        y = torch.stack([layer(x, w).sum(), (a @ a).sum(), (a @ a).abs().amax()]).cpu()
        first = y if first is None else first
        rig.equal("a repetition", y, first)
    return "5 times the same bits"


def training(rig: Rig) -> str:
    """20 steps of the product's own step function against the same in float64 on the CPU."""
    batches = [(rig.normal(16, *NET_SHAPE), rig.normal(16)) for _ in range(STEPS)]
    there = _train(rig.device.torch, batches, torch.float32)
    exact = _train(torch.device("cpu"), batches, torch.float64)
    loss = rig.close(f"loss of {STEPS} steps", there.loss_sum, exact.loss_sum, TRAINED)
    weights = judge("weights", _error_of(there, exact, "model."), TRAINED)
    moments = judge("the optimizer's moments", _error_of(there, exact, "optim."), TRAINED)
    return f"{STEPS} steps, loss {loss:.0e}, weights {weights:.0e}, moments {moments:.0e}"


def _train(device: torch.device, batches: list[tuple[Tensor, Tensor]], dtype: torch.dtype) -> TrainingState:
    options = Training(lr=1e-3, weight_decay=0.0)
    torch.manual_seed(1)
    model = small_net()
    count_dropout(model, seed=1)
    state = TrainingState(model.to(dtype), options, device)
    step = Stepper(state, options, Precision.FP32)
    for x, y in batches:
        step(x.to(device, dtype), y.to(device))
    return state


def small_net() -> nn.Sequential:
    """(16, 200) windows -> one number. No bias in front of a normalisation: its true gradient is zero."""
    n_chans, n_times = NET_SHAPE
    return nn.Sequential(
        nn.Unflatten(1, (1, n_chans)),
        nn.Conv2d(1, 8, (1, 25), padding=(0, 12), bias=False), nn.BatchNorm2d(8), nn.ELU(),
        nn.Conv2d(8, 16, (n_chans, 1), groups=8, bias=False), nn.BatchNorm2d(16), nn.ELU(), nn.AvgPool2d((1, 8)),
        nn.Dropout(0.25), nn.Flatten(), nn.Linear(16 * (n_times // 8), 1),
    )  # fmt: skip


def _error_of(got: TrainingState, want: TrainingState, part: str) -> float:
    """The relative error over all tensors whose name begins with `part`; counters would drown the rest."""
    tensors, exact = got.tensors(), want.tensors()
    names = [name for name, t in exact.items() if name.startswith(part) and t.dim() > 0]
    return relative_error(
        *(torch.cat([s[n].detach().double().cpu().flatten() for n in names]) for s in (tensors, exact))
    )


def soak(rig: Rig, seconds: float = 10.0) -> str:
    """The same work over and over at full load: heat and power bring out what a short test does not."""
    seconds = min(seconds, 1.0) if rig.device.torch.type == "cpu" else seconds
    n = 512 if rig.device.torch.type == "cpu" else 4096
    a, b = rig.up(rig.normal(n, n)), rig.up(rig.normal(n, n))
    first, rounds, until = a @ b, 0, time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(10):
            again = a @ b
        error = float((again - first).norm() / first.norm())
        judge(f"round {rounds}", error, FP32)
        rounds += 1
    return f"{rounds * 10} products of {n} x {n} in {seconds:g} s, all alike"


def step_ms(rig: Rig, rounds: int = 5) -> float:
    """Median time of the two big convolutions forward and backward (ms), after a first round for the search."""
    chosen = list(layers(rig).values())[:2]
    work = [
        (
            layer,
            rig.leaf(rig.normal(rig.batch, layer.inputs, layer.height, layer.width)),
            rig.leaf(rig.normal(layer.outputs, layer.inputs, *layer.kernel)),
        )
        for layer in chosen
    ]
    times = []
    for _ in range(rounds + 1):
        rig.device.synchronize()
        started = time.perf_counter()
        for layer, x, weight in work:
            layer(x, weight).sum().backward()
        rig.device.synchronize()
        times.append((time.perf_counter() - started) * 1e3)
    return median(times[1:])
