"""What happens on a real GPU when it fails, and does it compute what the CPU computes? Real faults, no drills.

    python benchmarks/gpu_faults.py --out results/            everything, under 8 minutes on one GPU
    python benchmarks/gpu_faults.py --only step_equality      one experiment
    python benchmarks/gpu_faults.py --device cpu              what needs no GPU, to try this file

Each experiment runs in a process of its own and prints JSON lines; a table closes the run. The card is left as it
was: real faults here end a context, not the device.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))

MODELS = ("EEGNeX", "EEGNet", "ShallowFBCSPNet")
N_CHANS, N_TIMES = 129, 200
BATCH = int(os.environ.get("GPU_FAULTS_BATCH", "128"))  # smaller where a CPU tries this file
LIMIT_S = {"device_tests": 240.0, "step_equality": 180.0}
USUAL_LIMIT_S = 90.0


# --- real faults -----------------------------------------------------------------------------------------------------


def device_tests(device: str) -> None:
    """The suite as a worker runs it, twice quick (cold, warm) and once full; then the choice of a device."""
    from worker.devices.probe import choose, examine, failure_of

    for level, label in (("quick", "quick, first"), ("quick", "quick, again"), ("full", "full")):
        started = time.monotonic()
        rows = examine(device, level)
        for row in rows if label == "full" else []:
            say("device_test", **row)
        in_tests = sum(row.get("seconds", 0) for row in rows)
        say(
            "suite",
            level=label,
            ok=failure_of(rows, device) is None,
            tests_s=round(in_tests, 2),
            process_s=since(started),
        )
    started = time.monotonic()
    say("choice", **choose("auto").to_dict(), seconds=since(started))


def out_of_memory(device: str) -> None:
    """Real ones in every part of a step: just before it, what is left of the memory is taken away.

    The state must be as before, to the bit, and the next step must work.
    """
    import torch

    hoard = Hoard()
    parts = Parts("EEGNeX", device, probe=hoard)
    parts.step()
    before = parts.snapshot()
    torch.cuda.set_per_process_memory_fraction((8 << 30) / torch.cuda.mem_get_info()[1])
    for where in ("forward", "backward", "optimizer"):
        for left_mib in (0, 16, 64):
            torch.cuda.empty_cache()
            hoard.before, hoard.left_mib = where, left_mib
            started = time.monotonic()
            error = parts.failing_step()
            found = {"error": None} if error is None else described(error, device)
            taken = hoard.give_back()
            undone = parts.equals(before) if error else None
            say("out_of_memory", before=where, left_mib=left_mib, undone=undone, taken_mib=taken,
                works_again=parts.failing_step() is None, seconds=since(started), **found)  # fmt: skip
            parts.restore(before)
    torch.cuda.set_per_process_memory_fraction(1.0)


def device_assert(device: str) -> None:
    """Error 710: an index out of range."""
    import torch

    _sticky(
        device, lambda: torch.zeros(8, device=device).index_put_((torch.tensor([100], device=device),), two(device))
    )


def illegal_address(device: str) -> None:
    """Error 700: a Triton kernel that stores where nothing is."""
    _sticky(device, lambda: bad_store(device))


def misaligned_address(device: str) -> None:
    """Error 716: a store to an odd address."""
    _sticky(device, lambda: run_kernel("void odd(float* x) { *(float*)((char*)x + 1) = 1.0f; }", "odd", device))


def launch_failure(device: str) -> None:
    """A trap in a kernel: 719 or its like."""
    _sticky(device, lambda: run_kernel("void trap(float* x) { __trap(); }", "trap", device))


def _sticky(device: str, work: Callable[[], Any]) -> None:
    import torch

    from worker.devices.sticky import is_sticky
    from worker.training.device import device_of

    torch.ones(8, device=device).sum().item()
    began_at = time.time()
    try:
        work()
        torch.cuda.synchronize()
        say("sticky", error=None)
        return
    except Exception as error:  # noqa: BLE001 - it is what is asked
        found = described(error, device)
    started = time.monotonic()
    sticky = is_sticky(device_of(device))
    probe_s = since(started)
    say("sticky", **found, sticky=sticky, probe_s=probe_s, second=name_of(lambda: torch.zeros(1, device=device).cpu()),
        rng=name_of(torch.cuda.get_rng_state), kernel_log=kernel_log(began_at))  # fmt: skip
    sys.stdout.flush()
    os._exit(75)


def killed_in_kernel(device: str) -> None:
    """SIGKILL inside a long kernel: how soon is the process gone, and how soon does a new one train?"""
    for _ in range(3):
        victim = start("long_kernel", device)
        wait_for_line(victim, "in the kernel")
        time.sleep(0.5)
        started = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)
        status = victim.wait(60)
        reaped_s = since(started)
        trains_s, rows = again(device)
        say("killed_in_kernel", status=status, reaped_s=reaped_s, trains_again_s=trains_s, **rows)


def hang(device: str) -> None:
    """A kernel that does not end: found by the trainer's broken promise, killed, and the device works on."""
    from worker.watchdog import Watchdog

    promised_s, watchdog = 3.0, Watchdog(patience_s=2.0)
    victim = start("endless_kernel", device)
    wait_for_line(victim, "in the kernel")
    started = time.monotonic()
    watchdog.heard(promised_s, started)
    while not watchdog.expired(time.monotonic()):
        time.sleep(0.05)
    found_s, killed = since(started), time.monotonic()
    os.kill(victim.pid, signal.SIGTERM)
    told = ended_within(victim, 2.0)
    os.kill(victim.pid, signal.SIGKILL)
    died = ended_within(victim, 60.0)
    reaped_s = since(killed)
    trains_s, rows = again(device)
    say("hang", promised_s=promised_s + 2.0, found_s=found_s, ended_by_term=told, died=died, reaped_s=reaped_s,
        trains_again_s=trains_s, **rows)  # fmt: skip


def hung_probe(device: str) -> None:
    """The sticky probe beside an endless kernel comes back with its verdict after 5 s."""
    import torch

    from worker.devices.sticky import is_sticky
    from worker.training.device import device_of

    torch.cuda._sleep(1)
    torch.cuda.synchronize()
    for _ in range(20):
        torch.cuda._sleep(10**11)
    started = time.monotonic()
    say("hung_probe", sticky=is_sticky(device_of(device)), seconds=since(started))
    sys.stdout.flush()
    os._exit(75)


def not_finite(device: str) -> None:
    """A batch with a NaN: every write of the step is withheld, on the device, without a look from the host."""
    for precision in ("fp32", "fp16"):
        parts = Parts("EEGNeX", device, precision=precision)
        parts.step()
        before = parts.snapshot()
        parts.x[3, 5, 7] = float("nan")
        parts.step()
        parts.step()
        after = parts.snapshot()
        changed = sorted(k for k, v in after.items() if not same(v, before[k]))
        say("not_finite", precision=precision, ok=bool(parts.state.ok), step=int(parts.state.step), changed=changed[:6])


# --- equal numbers ---------------------------------------------------------------------------------------------------


def step_equality(device: str) -> None:
    """One step from an equal state on the GPU and on the CPU: gradients, buffers, weights and the loss.

    The CPU's own distance to float64 gives the scale. Limits: fp32 1e-4; the others are reported.
    """
    for model in MODELS:
        reference = one_step(model, "cpu", "fp32", double=True)
        baseline = one_step(model, "cpu", "fp32")
        say("step_equality", model=model, where="cpu fp32 vs float64", **distance(baseline, reference))
        for precision in ("fp32", "tf32", "fp16", "bf16") if device != "cpu" else ("fp32",):
            there = one_step(model, device, precision)
            found = distance(there, baseline)
            limit = {"ok": max(found["gradient"], found["buffers"]) <= 1e-4} if precision == "fp32" else {}
            say("step_equality", model=model, where=f"{device} {precision} vs cpu fp32", **found, **limit)


def counter_masks(device: str) -> None:
    """Dropout masks of the same (seed, layer, step) on both devices."""
    import torch

    from worker.training.dropout import CountedDropout

    here, there, compared = CountedDropout(0.5, 12345), CountedDropout(0.5, 12345), 0
    for step in (0, 1, 77, 2**20, 2**31 - 1, 2**40):
        here.counter, there.counter = torch.tensor(step), torch.tensor(step, device=device)
        for n in (1, 2, 31, 1024, 204_800, 5_000_000):
            a, b = here.mask(n, torch.device("cpu")), there.mask(n, torch.device(device)).cpu()
            if not torch.equal(a, b):
                say("counter_masks", ok=False, step=step, n=n, differ=int((a != b).sum()))
                return
            compared += n
    say("counter_masks", ok=True, compared=compared)


def moved_batch(device: str) -> None:
    """A batch that moves: checkpoint, read, the CPU's own step, checkpoint, read, restore. Its cost beyond the step."""
    from worker.training import checkpoint

    for model in MODELS:
        parts = Parts(model, device)
        parts.step()
        for _ in range(4):
            with tempfile.TemporaryDirectory() as folder:
                started = time.monotonic()
                checkpoint.write(Path(folder) / "1", parts.state.tensors(), {"step": 1})
                written_s = since(started)
                twin = Parts(model, "cpu")
                twin.state.restore(checkpoint.read(Path(folder) / "1")[0])
                began = time.monotonic()
                twin.step()
                step_s = since(began)
                began = time.monotonic()
                checkpoint.write(Path(folder) / "2", twin.state.tensors(), {"step": 2})
                parts.state.restore(checkpoint.read(Path(folder) / "2")[0])
                parts.sync()
                back_s = since(began)
        say("moved_batch", model=model, written_s=written_s, cpu_step_s=step_s, written_and_restored_s=back_s,
            step=int(parts.state.step))  # fmt: skip


def checkpoint_cost(device: str) -> None:
    """How long a checkpoint holds up training: copied while waiting, and copied beside the work on a side stream."""
    for model in ("EEGNeX", "Deep4Net", "ShallowFBCSPNet"):
        parts = Parts(model, device)
        tensors = parts.state.tensors()
        mb = sum(t.numel() * t.element_size() for t in tensors.values()) / 1e6
        plain_ms = median(timed(parts, lambda: None) for _ in range(30))
        waiting_ms = median(timed(parts, lambda p=parts: copy_waiting(p)) for _ in range(10))
        aside = Aside(parts) if device != "cpu" else None
        aside_ms = median(timed(parts, aside.start) for _ in range(10)) if aside else None
        say("checkpoint_cost", model=model, mb=round(mb, 2), tensors=len(tensors), step_ms=round(plain_ms, 3),
            waiting_stall_ms=round(waiting_ms - plain_ms, 3),
            aside_stall_ms=round(aside_ms - plain_ms, 3) if aside_ms else None, write_ms=write_ms(parts))  # fmt: skip


def readings(device: str) -> None:
    """Memory, temperature, power and load, as the worker reads them."""
    from worker.devices.readings import read

    started = time.monotonic()
    found = read(device)
    say("readings", found=found.to_dict() if found else None, seconds=since(started))


# --- what the experiments share --------------------------------------------------------------------------------------


class Parts:
    """A braindecode model with its state and stepper on a batch of noise, as a job has them."""

    def __init__(
        self, model: str, device: str, precision: str = "fp32", probe: Any = None, double: bool = False
    ) -> None:
        import torch

        from jobs.spec import JobSpec, Precision
        from worker.training.build import Shape, build
        from worker.training.state import TrainingState
        from worker.training.step import Stepper, no_probe

        warnings.simplefilter("ignore")
        set_tf32(precision == "tf32")
        spec = JobSpec.model_validate({"model": {"name": model}, "seed": 7})
        shape = Shape(tuple(f"E{i + 1}" for i in range(N_CHANS)), N_TIMES, 100.0)
        built = build(spec, shape).model
        self.dtype = torch.float64 if double else torch.float32
        self.device = torch.device(device)
        self.state = TrainingState(built.to(self.dtype), spec.training, self.device)
        self.stepper = Stepper(self.state, spec.training, Precision(precision), probe or no_probe)
        draw = torch.Generator().manual_seed(3)
        self.x = (torch.randn(BATCH, N_CHANS, N_TIMES, generator=draw) * 10).to(self.device, self.dtype)
        self.y = torch.randn(BATCH, generator=draw).to(self.device)

    def step(self) -> None:
        self.stepper(self.x, self.y)

    def failing_step(self) -> Exception | None:
        """As the training loop does it: what was raised is judged outside the handler, after an undo."""
        try:
            self.step()
            self.sync()
        except Exception as error:  # noqa: BLE001 - as in the training loop
            raised = error.with_traceback(None)
        else:
            return None
        self.stepper.undo()
        return raised

    def sync(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def snapshot(self) -> dict[str, Any]:
        return {name: t.detach().to("cpu", copy=True) for name, t in self.state.tensors().items()}

    def equals(self, snapshot: dict[str, Any]) -> bool:
        return all(same(t.cpu(), snapshot[name]) for name, t in self.state.tensors().items())

    def restore(self, snapshot: dict[str, Any]) -> None:
        self.state.restore(snapshot)


class Aside:
    """Copies the state to pinned memory on a side stream, from a snapshot on the device."""

    def __init__(self, parts: Parts) -> None:
        import torch

        self._live = list(parts.state.tensors().values())
        self._here = [t.detach().clone() for t in self._live]
        self._host = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in self._live]
        self._stream = torch.cuda.Stream()

    def start(self) -> None:
        import torch

        with torch.no_grad():
            for here, live in zip(self._here, self._live, strict=True):
                here.copy_(live)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for host, here in zip(self._host, self._here, strict=True):
                host.copy_(here, non_blocking=True)


def one_step(model: str, device: str, precision: str, double: bool = False) -> dict[str, Any]:
    """Gradients before clipping, and everything after one step."""
    gradients: dict[str, Any] = {}
    parts: Parts | None = None

    def catch(where: str) -> None:
        if where == "optimizer" and parts is not None:
            named = parts.state.model.named_parameters()
            gradients.update({n: p.grad.detach().double().cpu() for n, p in named if p.grad is not None})

    parts = Parts(model, device, precision, catch, double)
    parts.state.scale.fill_(256.0)
    parts.step()
    after = {name: t.detach().double().cpu() for name, t in parts.state.tensors().items()}
    buffers = {f"model.{n}" for n, b in parts.state.model.named_buffers() if b.dtype.is_floating_point}
    return {"gradients": gradients, "after": after, "buffers": buffers}


def distance(got: dict[str, Any], want: dict[str, Any]) -> dict[str, float]:
    """Relative L2 distances. Parameters whose true gradient is zero count with their size among the others."""
    import torch

    def relative(a: list[Any], b: list[Any]) -> float:
        if not b:
            return 0.0
        a, b = torch.cat([t.flatten() for t in a]), torch.cat([t.flatten() for t in b])
        return float(f"{float((a - b).norm() / b.norm().clamp_min(1e-30)):.3g}")

    def of(side: dict[str, Any], names: list[str]) -> list[Any]:
        return [side["after"][n] for n in names]

    weights = [n for n in want["after"] if n.startswith("model.") and n not in want["buffers"]]
    buffers = sorted(want["buffers"])
    named = sorted(want["gradients"])
    return {
        "gradient": relative([got["gradients"][n] for n in named], [want["gradients"][n] for n in named]),
        "buffers": relative(of(got, buffers), of(want, buffers)),
        "weights": relative(of(got, weights), of(want, weights)),
        "loss": relative(of(got, ["loss_sum"]), of(want, ["loss_sum"])),
    }


def described(error: Exception, device: str) -> dict[str, Any]:
    """What was raised, and what the classifier makes of it with and without the error code."""
    from worker.devices.classify import classify

    name, text, code = type(error).__name__, str(error), getattr(error, "error_code", None)
    found = classify(name, text, code=code, device=device)
    by_text = classify("RuntimeError", text, device=device)
    return {"error": name, "code": code, "text": text.splitlines()[0][:200], "kind": found and found.kind,
            "kind_by_text": by_text and by_text.kind}  # fmt: skip


def name_of(work: Callable[[], Any]) -> str:
    try:
        work()
        return "works"
    except Exception as error:  # noqa: BLE001 - its name is the answer
        return type(error).__name__


def kernel_log(since_at: float) -> list[str]:
    """What the kernel said of the fault; not the card's numbers."""
    from worker.devices.kernel_log import hints

    time.sleep(0.5)
    return [hint.text[:200] for hint in hints(since_at)][:6]


class Hoard:
    """A probe that takes all memory but some, just before a part of the step."""

    def __init__(self) -> None:
        self.before, self.left_mib = "", 0
        self._taken: list[Any] = []

    def __call__(self, where: str) -> None:
        import torch

        if where != self.before or self._taken:
            return
        torch.cuda.empty_cache()
        for size in (1 << 24, 1 << 21, 1 << 19, 1 << 9):
            self._take(size)
        del self._taken[: self.left_mib // 16]  # the first are of 16 MiB each
        torch.cuda.empty_cache()

    def _take(self, size: int) -> None:
        import torch

        try:
            while True:
                self._taken.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            return

    def give_back(self) -> int:
        taken = sum(t.numel() for t in self._taken)
        self._taken.clear()
        self.before = ""
        return taken >> 20


def two(device: str) -> Any:
    import torch

    return torch.tensor([2.0], device=device)


def bad_store(device: str) -> None:
    import torch

    kernels = load_kernels()
    kernels.store_far_away[(1,)](torch.zeros(8, device=device), 1 << 40)


def run_kernel(source: str, name: str, device: str) -> None:
    """CUDA C++ through torch's own door to the run-time compiler."""
    import torch

    kernel = torch.cuda._compile_kernel(f'extern "C" __global__ {source}', name)
    kernel((1, 1, 1), (1, 1, 1), (torch.zeros(8, device=device),))


def load_kernels() -> Any:
    """Triton reads a kernel's source from its file."""
    import importlib.util

    source = (
        "import triton\nimport triton.language as tl\n\n\n@triton.jit\ndef store_far_away(x, offset):\n"
        "    tl.store(x + offset, 1.0)\n"
    )
    path = Path(tempfile.mkdtemp()) / "bad_kernels.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("bad_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bad_kernels"] = module
    spec.loader.exec_module(module)
    return module


def copy_waiting(parts: Parts) -> None:
    for tensor in parts.state.tensors().values():
        tensor.detach().to("cpu", copy=True)


def timed(parts: Parts, between: Callable[[], Any]) -> float:
    """Milliseconds of four steps with `between` after the second, as the training thread sees it."""
    parts.sync()
    started = time.perf_counter()
    for i in range(4):
        parts.step()
        if i == 1:
            between()
    parts.sync()
    return (time.perf_counter() - started) * 1e3


def write_ms(parts: Parts) -> float:
    from worker.training import checkpoint

    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        checkpoint.write(Path(folder) / "1", parts.state.tensors(), {"step": 1})
        return round((time.monotonic() - started) * 1e3, 1)


def set_tf32(allowed: bool) -> None:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = False


def same(a: Any, b: Any) -> bool:
    import torch

    return torch.equal(a.cpu().view(-1), b.cpu().view(-1))


# --- victims ---------------------------------------------------------------------------------------------------------


def long_kernel(device: str) -> None:
    """About 30 s on the device, then waits for it."""
    _busy(60 * 10**9)


def endless_kernel(device: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _busy(10**13)


def _busy(cycles: int) -> None:
    import torch

    torch.cuda._sleep(1)
    torch.cuda.synchronize()
    torch.cuda._sleep(cycles)
    print("in the kernel", flush=True)
    torch.cuda.synchronize()


def first_step(device: str) -> None:
    """From nothing to a finished training step, as a fresh trainer has it."""
    started = time.monotonic()
    import torch

    torch_s = since(started)
    parts = Parts("EEGNeX", device)
    built_s = since(started)
    parts.step()
    assert bool(torch.isfinite(parts.state.loss_sum))
    print(json.dumps({"torch_s": torch_s, "built_s": built_s, "stepped_s": since(started)}), flush=True)


def start(victim: str, device: str) -> subprocess.Popen:
    command = [sys.executable, __file__, "--victim", victim, "--device", device]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for_line(process: subprocess.Popen, expected: str) -> None:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if line != expected:
        raise RuntimeError(f"the victim said {line!r}")


def ended_within(process: subprocess.Popen, timeout_s: float) -> bool:
    try:
        process.wait(timeout_s)
        return True
    except subprocess.TimeoutExpired:
        return False


def again(device: str) -> tuple[float, dict[str, Any]]:
    """Seconds until a new process has trained a step, and its parts."""
    started = time.monotonic()
    process = start("first_step", device)
    out, _ = process.communicate(timeout=120)
    return since(started), json.loads(out.splitlines()[-1])


# --- the run ---------------------------------------------------------------------------------------------------------

NEED_A_GPU = {"out_of_memory", "device_assert", "illegal_address", "misaligned_address",
              "launch_failure", "killed_in_kernel", "hang", "hung_probe"}  # fmt: skip
EXPERIMENTS: dict[str, Callable[[str], None]] = {
    f.__name__: f
    for f in (
        step_equality, counter_masks, device_assert, illegal_address, out_of_memory, killed_in_kernel, hang,
        device_tests, checkpoint_cost, not_finite, moved_batch, hung_probe, launch_failure,
        misaligned_address, readings,
    )
}  # fmt: skip
VICTIMS = {f.__name__: f for f in (long_kernel, endless_kernel, first_step)}


def main() -> None:
    options = parse()
    if options.victim:
        VICTIMS[options.victim](options.device)
    elif options.run:
        EXPERIMENTS[options.run](options.device)
    else:
        run_all(options)


def run_all(options: argparse.Namespace) -> None:
    """Each experiment in a process of its own, until the time is up."""
    names = options.only.split(",") if options.only else list(EXPERIMENTS)
    until = time.monotonic() + options.budget_s
    rows = [machine(options.device)]
    print(json.dumps(rows[0]), flush=True)
    for name in names:
        if name in NEED_A_GPU and options.device == "cpu":
            continue
        if time.monotonic() > until:
            rows.append({"experiment": name, "skipped": "the time is up"})
            continue
        rows += run_one(name, options.device)
    table(rows)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        file = options.out / "gpu_faults.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run_one(name: str, device: str) -> list[dict[str, Any]]:
    started = time.monotonic()
    command = [sys.executable, __file__, "--run", name, "--device", device]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=LIMIT_S.get(name, USUAL_LIMIT_S))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    end = {"experiment": name, "status": process.returncode, "seconds": since(started)}
    if process.returncode not in (0, 75):
        end["last_words"] = err[-1500:]
    for row in [*rows, end]:
        print(json.dumps(row), flush=True)
    return [*rows, end]


def machine(device: str) -> dict[str, Any]:
    """Asked in a process of its own: this one never touches the GPU."""
    code = (
        "import torch, json, platform; c = torch.cuda.is_available();"
        "print(json.dumps({'machine': torch.cuda.get_device_name() if c else platform.processor(), 'torch':"
        " torch.__version__, 'cuda': torch.version.cuda, 'hip': torch.version.hip, 'cudnn':"
        " torch.backends.cudnn.version() if c else None, 'python': platform.python_version()}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {**json.loads(out.splitlines()[-1]), "device": device, "at": time.strftime("%Y-%m-%d")}


def table(rows: list[dict[str, Any]]) -> None:
    """One line a row: what was asked, then what was found."""
    print("\n" + "=" * 120)
    for row in rows:
        name = row.get("what") or row.get("experiment") or "machine"
        shown = {
            k: v for k, v in row.items() if k not in ("what", "experiment", "text", "last_words") and v is not None
        }
        print(f"{name:18} " + "  ".join(f"{k}={v}" for k, v in shown.items())[:400])


def say(what: str, **fields: Any) -> None:
    print(json.dumps({"what": what, **fields}, default=str), flush=True)


def since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--only", help="names, comma-separated: " + ", ".join(EXPERIMENTS))
    parser.add_argument("--out", type=Path, help="folder for gpu_faults.jsonl")
    parser.add_argument("--budget-s", type=float, default=420.0, help="no experiment starts after this")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--victim", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
