"""Each device test notices a device that computes wrongly: one operation of the device is damaged, silently."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jobs.spec import JobSpec
from worker.devices import arithmetic, capabilities, memory, network, suite
from worker.devices.arch import in_build
from worker.devices.errors import WrongNumbers
from worker.devices.rig import Rig
from worker.devices.shapes import Shapes
from worker.training.device import device_of

SMALL = Shapes(batch=4, n_chans=8, n_times=64)


@pytest.fixture
def rig() -> Rig:
    return Rig(device_of("standin"), SMALL)


class Flaw(TorchDispatchMode):
    """From its n-th call on, once, an operation gives one wrong value. float64, the reference's type, is spared."""

    def __init__(self, operation: str, call: int = 1, output: int = 0) -> None:
        super().__init__()
        self.operation, self.call, self.output, self.calls = operation, call, output, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        damaged = result[self.output] if isinstance(result, (tuple, list)) else result
        name = func.overloadpacket.__name__
        if name == self.operation and damaged.dtype not in (torch.float64, torch.complex128):
            self.calls += 1
            if self.calls == self.call:
                one_wrong_value(damaged)
        return result


def one_wrong_value(tensor: torch.Tensor) -> None:
    index = (tensor.numel() - 1) // 2
    position = torch.unravel_index(torch.tensor(index), tensor.shape) if tensor.dim() else ()
    value = tensor[position]
    tensor[position] = ~value if tensor.dtype == torch.bool else value + 1000


DAMAGED: list[tuple[Callable[[Rig], str], Flaw]] = [
    (memory.enumerate_device, Flaw("sum")),
    (memory.allocate, Flaw("bitwise_xor_")),
    (memory.copies, Flaw("_to_copy")),
    (memory.gather, Flaw("index")),
    (memory.gather, Flaw("gather")),
    (memory.gather, Flaw("index_add")),
    (memory.counter_masks, Flaw("ge")),
    (arithmetic.elementwise, Flaw("tanh")),
    (arithmetic.elementwise, Flaw("elu")),
    (arithmetic.reductions, Flaw("amax")),
    (arithmetic.reductions, Flaw("cumsum")),
    (arithmetic.matmul, Flaw("mm")),
    (arithmetic.matmul, Flaw("bmm")),
    (arithmetic.fft, Flaw("_fft_r2c")),
    (arithmetic.fft, Flaw("_fft_c2r")),
    (network.convolution, Flaw("convolution", call=2)),
    (network.convolution, Flaw("convolution", call=6)),
    (network.convolution, Flaw("convolution_backward", output=0)),
    (network.convolution, Flaw("convolution_backward", call=3, output=1)),
    (network.batch_norm, Flaw("native_batch_norm", output=0)),
    (network.batch_norm, Flaw("native_batch_norm_backward", output=0)),
    (network.repeats, Flaw("mm", call=4)),
    (network.training, Flaw("mse_loss", call=9)),
    (network.training, Flaw("convolution_backward", call=30, output=1)),
    (capabilities.bf16, Flaw("mm")),
    (capabilities.deterministic, Flaw("addmm", call=2)),
]


@pytest.mark.parametrize(("test", "flaw"), DAMAGED, ids=[f"{t.__name__}-{f.operation}-{f.call}" for t, f in DAMAGED])
def test_a_wrong_operation_is_noticed(rig, test, flaw):
    with pytest.raises(WrongNumbers), flaw:
        test(rig)


@pytest.mark.parametrize(
    "test", [t for t in {**suite.FULL}.values() if t is not network.soak], ids=lambda t: t.__name__
)
def test_a_sound_device_passes(rig, test):
    assert test(rig)


def test_copies_to_the_cpu_itself_are_still_compared(rig):
    """On the CPU an upload is no copy; what is compared must come from what was sent all the same."""
    rig.equal("itself", rig.up(torch.arange(4)), torch.arange(4))
    with pytest.raises(WrongNumbers, match="1 of 4 values differ"):
        rig.equal("another", rig.up(torch.tensor([0, 1, 2, 9])), torch.arange(4))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_never_close(rig, value):
    with pytest.raises(WrongNumbers):
        rig.close("sum", torch.tensor([1.0, value]), torch.tensor([1.0, 2.0]))


def test_a_batch_of_scaled_windows_needs_a_reference_of_two(rig):
    batch = network._batch(rig, 8, (3, 5))
    assert batch.all().shape == (8, 3, 5)
    assert network._error_of_scaled(batch.all(), batch, batch.bases) == 0.0
    spoilt = batch.all()
    spoilt[7, 0, 0] += 1.0
    assert network._error_of_scaled(spoilt, batch, batch.bases) > 0.05


def run(test: Callable[[Rig], str], monkeypatch: pytest.MonkeyPatch, *others: Callable[[Rig], str]) -> list[dict]:
    rows: list[dict] = []
    tests = {f"test {i}": t for i, t in enumerate((test, *others))}
    monkeypatch.setitem(suite.TESTS, "quick", tests)
    assert suite.run("standin", "quick", SMALL, rows.append) is False
    return rows


def wrong(rig: Rig) -> str:
    raise WrongNumbers("matmul: relative error 1, allowed 1e-05")


def dead(rig: Rig) -> str:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def fine(rig: Rig) -> str:
    return "fine"


def test_a_test_is_named_before_it_starts(monkeypatch):
    assert run(wrong, monkeypatch)[0] == {"test": "test 0"}


def test_wrong_numbers_do_not_end_the_suite(monkeypatch):
    rows = run(wrong, monkeypatch, fine)
    assert [row["ok"] for row in rows if "ok" in row] == [False, True]


def test_a_device_error_ends_it_for_the_rest_would_only_repeat_it(monkeypatch):
    rows = run(dead, monkeypatch, fine)
    assert [(row["test"], row["fault"]) for row in rows if "ok" in row] == [("test 0", "context_lost")]


def test_the_shapes_are_the_jobs_own():
    spec = JobSpec.model_validate({"task": "challenge2", "training": {"batch_size": 32}})
    assert Shapes.from_spec(spec) == Shapes(32, 129, 200)
    rate = {"kind": "fixed", "channels": ["Cz", "Pz"], "size_s": 4, "crop_s": None, "sfreq": 250}
    assert Shapes.from_spec(JobSpec.model_validate({"task": rate})) == Shapes(128, 2, 1000)


@pytest.mark.parametrize(
    ("arch", "built_for", "there"),
    [
        ("gfx1010:xnack-", ["gfx900", "gfx1030"], False),
        ("gfx1010:xnack-", ["gfx900", "gfx1010"], True),
        ("sm_90", ["sm_80", "sm_90"], True),
        ("sm_89", ["sm_80", "sm_90"], True),
        ("sm_61", ["sm_75", "sm_80"], False),
        ("sm_120", ["sm_80", "sm_90"], False),
        ("sm_120", ["sm_90", "compute_90"], True),
    ],
)
def test_whether_a_build_has_code_for_a_card(arch, built_for, there):
    assert in_build(arch, built_for) is there
