"""What a device can do beyond fp32: half precision, graphs, the compiler. Absent is not broken."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.devices.errors import DeviceTestError
from worker.devices.network import NET_SHAPE, layers, small_net
from worker.devices.rig import Rig, judge, relative_error

HALF = {torch.float16: 5e-3, torch.bfloat16: 3e-2}  # relative L2 error allowed of one operation
TF32 = 2e-3


def fp16(rig: Rig) -> str:
    """Autocast with loss scaling."""
    detail = _half(rig, torch.float16)
    return f"{detail}; {_scaled_steps(rig)}"


def bf16(rig: Rig) -> str:
    """Autocast. Wrong on some CPUs at EEGNeX's shapes, slow on cards that lack it."""
    return _half(rig, torch.bfloat16)


def tf32(rig: Rig) -> str:
    """NVIDIA's shortened fp32, which is torch's default for convolutions."""
    if not rig.on_cuda or torch.version.hip:
        raise DeviceTestError("not on this device")
    a, b = rig.normal(1024, 1024), rig.normal(1024, 1024)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        error = judge("matmul", relative_error(rig.up(a) @ rig.up(b), a.double() @ b.double()), TF32)
        return f"matmul {error:.0e}, convolution {_conv_error(rig, torch.float32, TF32):.0e}"
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def deterministic(rig: Rig) -> str:
    """That a step can be bit-identical to itself with torch's deterministic algorithms."""
    x, y = rig.up(rig.normal(16, *NET_SHAPE)), rig.up(rig.normal(16))
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (_gradients(rig, x, y) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    rig.equal("gradients of the same step", first, second)
    return "a step repeats bit for bit"


def graphs(rig: Rig) -> str:
    """A captured piece of work replays with new values."""
    if not rig.on_cuda:
        raise DeviceTestError("not on this device")
    x, weight = rig.up(rig.normal(64, 256)), rig.up(rig.normal(256, 256))
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        functional.elu(x @ weight)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = functional.elu(x @ weight)
    again = rig.normal(64, 256)
    x.copy_(rig.up(again))
    graph.replay()
    error = rig.close("replay", out, functional.elu(again.double() @ weight.double().cpu()), 1e-4)
    return f"replayed, error {error:.0e}"


def compiler(rig: Rig) -> str:
    """torch.compile gives the eager numbers. On some cards Triton reports success and writes nothing."""
    model = small_net().to(rig.device.torch).eval()
    x = rig.up(rig.normal(16, *NET_SHAPE))
    with torch.no_grad():
        want, got = model(x), torch.compile(model)(x)
    return f"error {rig.close('compiled', got, want.cpu(), 1e-4):.0e}"


Capability = Callable[[Rig], str]
ON_A_CPU: dict[str, Capability] = {"deterministic": deterministic, "bf16": bf16}
CAPABILITIES: dict[str, Capability] = {
    "tf32": tf32, "deterministic": deterministic, "fp16": fp16, "bf16": bf16, "graphs": graphs, "compile": compiler,
}  # fmt: skip


def _half(rig: Rig, dtype: torch.dtype) -> str:
    a, b = rig.normal(512, 512), rig.normal(512, 512)
    product = rig.up(a).to(dtype) @ rig.up(b).to(dtype)
    matmul = judge("matmul", relative_error(product, a.double() @ b.double()), HALF[dtype])
    return f"matmul {matmul:.0e}, convolution {_conv_error(rig, dtype, HALF[dtype]):.0e}"


def _conv_error(rig: Rig, dtype: torch.dtype, limit: float) -> float:
    """Of EEGNeX's five convolutions, forward and both gradients, on two windows in autocast."""
    worst = 0.0
    for name, layer in layers(rig).items():
        x = rig.normal(2, layer.inputs, layer.height, layer.width)
        weight = rig.normal(layer.outputs, layer.inputs // layer.groups, *layer.kernel) * 0.1
        exact = _conv(layer, x.double(), weight.double())
        with torch.autocast(rig.device.torch.type, dtype=dtype, enabled=dtype is not torch.float32):
            got = _conv(layer, rig.up(x), rig.up(weight))
        for part, there, want in zip(("forward", "input", "weights"), got, exact, strict=True):
            worst = max(worst, judge(f"{name}: {part}", relative_error(there, want), limit))
    return worst


def _conv(layer: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    y = layer(x, weight)
    return (y, *torch.autograd.grad(y, (x, weight), torch.ones_like(y)))


def _scaled_steps(rig: Rig) -> str:
    """A few steps with the scaler: the weights move and stay finite."""
    kind = rig.device.torch.type
    torch.manual_seed(1)
    model = small_net().to(rig.device.torch)
    optimizer, scaler = torch.optim.AdamW(model.parameters(), lr=1e-3), torch.amp.GradScaler(kind)
    x, y = rig.up(rig.normal(16, *NET_SHAPE)), rig.up(rig.normal(16))
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        with torch.autocast(kind, dtype=torch.float16):
            loss = nn.functional.mse_loss(model(x).flatten().float(), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(float(loss.detach()))
    if not losses[-1] < losses[0]:
        raise DeviceTestError(f"10 scaled steps: loss {losses[0]:.3g} to {losses[-1]:.3g}")
    return f"10 scaled steps: loss {losses[0]:.2g} to {losses[-1]:.2g}"


def _gradients(rig: Rig, x: Tensor, y: Tensor) -> Tensor:
    torch.manual_seed(1)
    model = small_net().to(rig.device.torch).eval()
    nn.functional.mse_loss(model(x).flatten(), y).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
