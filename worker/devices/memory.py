"""Device tests of memory: what is written is read back, through every way in and out. Values are compared exactly."""

import gc

import torch

from worker.devices.arch import in_build
from worker.devices.errors import DeviceTestError, WrongNumbers
from worker.devices.rig import Rig
from worker.training.device import Device
from worker.training.dropout import CountedDropout

MIB = 1 << 20


def enumerate_device(rig: Rig) -> str:
    """That a kernel runs at all; names the card, and says when the build of torch has no code for it."""
    described = describe(rig.device)
    total = float(torch.ones(1000, device=rig.device.torch).sum())
    if total != 1000.0:
        raise WrongNumbers(f"1000 ones add up to {total:g} on {described}")
    return described


def describe(device: Device) -> str:
    """Name, architecture and memory."""
    if device.torch.type != "cuda":
        return f"{device.description}, torch {torch.__version__}"
    card = torch.cuda.get_device_properties(device.torch)
    arch = getattr(card, "gcnArchName", None) or f"sm_{card.major}{card.minor}"
    built = "" if in_build(arch, torch.cuda.get_arch_list()) else f", NOT in this build ({torch.__version__})"
    return f"{card.name}, {arch}{built}, {card.total_memory / 2**30:.1f} GiB"


def allocate(rig: Rig, mib: int = 64) -> str:
    """Fill, verify and free memory."""
    n = mib * MIB // 4
    block = torch.arange(n, dtype=torch.int32, device=rig.device.torch)
    block.mul_(-1640531527).bitwise_xor_(0x5A5A5A5A)  # no two neighbours alike
    mirror = torch.arange(n, dtype=torch.int32).mul_(-1640531527).bitwise_xor_(0x5A5A5A5A)
    rig.equal(f"{mib} MiB", block, mirror)
    return f"{mib} MiB"


def allocate_much(rig: Rig) -> str:
    """A quarter of what is free, verified on the device itself in pieces."""
    if not rig.on_cuda:
        return allocate(rig)
    free, _ = torch.cuda.mem_get_info(rig.device.torch)
    pieces = [
        torch.full((64 * MIB,), i, dtype=torch.int32, device=rig.device.torch) for i in range(free // (1024 * MIB))
    ]
    wrong = [i for i, piece in enumerate(pieces) if not bool((piece == i).all())]
    if wrong:
        raise WrongNumbers(f"{len(wrong)} of {len(pieces)} blocks of 256 MiB hold other values than were written")
    return f"{len(pieces) * 256} MiB"


def copies(rig: Rig) -> str:
    """To the device and back, from pageable and from pinned memory."""
    source = rig.integers(1 << 40, 2 * MIB)
    rig.equal("pageable copy", source.to(rig.device.torch, copy=True), source)
    if not rig.on_cuda:
        return "16 MiB"
    pinned = source.pin_memory()
    there = pinned.to(rig.device.torch, non_blocking=True)
    back = torch.empty_like(source).pin_memory()
    back.copy_(there, non_blocking=True)
    rig.device.synchronize()
    rig.equal("pinned copy", back, source)
    return "16 MiB, pageable and pinned"


def gather(rig: Rig) -> str:
    """Rows by index, windows cut from a signal, scatter-add of integers: exact everywhere."""
    table, rows = rig.normal(4096, 200), rig.integers(4096, 512)
    rig.equal("rows", rig.up(table)[rig.up(rows)], table[rows])
    starts = rig.integers(3800, 129)
    at = starts[:, None] + torch.arange(200)
    signal = rig.normal(129, 4096)
    rig.equal("windows", torch.gather(rig.up(signal), 1, rig.up(at)), torch.gather(signal, 1, at))
    sums = torch.zeros(64, dtype=torch.int64)
    into, values = rig.integers(64, 10_000), rig.integers(1000, 10_000)
    rig.equal("scatter", rig.up(sums).index_add(0, rig.up(into), rig.up(values)), sums.index_add(0, into, values))
    return "exact"


def counter_masks(rig: Rig) -> str:
    """Dropout masks are counted from (seed, layer, step): the CPU's and the device's must be the same bits."""
    sizes = (1, 31, 6_400, 204_800, 1_000_003)
    here, there = CountedDropout(0.25, 0xDEADBEEF), CountedDropout(0.25, 0xDEADBEEF)
    for step in (0, 1, 2**31 - 1):
        here.counter = torch.tensor(step)
        there.counter = rig.up(here.counter)
        for n in sizes:
            rig.equal(f"mask of {n} at step {step}", there.mask(n, rig.device.torch), here.mask(n, torch.device("cpu")))
    return f"equal, 1 to {max(sizes)} elements"


def streams(rig: Rig) -> str:
    """Work on a side stream, ordered by events."""
    if not rig.on_cuda:
        rig.device.synchronize()
        return "no streams on this device"
    side, done = torch.cuda.Stream(), torch.cuda.Event()
    value = torch.zeros(MIB, device=rig.device.torch)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(50):
            value += 1
        done.record(side)
    done.wait()
    total = value * 2
    value.record_stream(torch.cuda.current_stream())
    rig.equal("50 additions on a side stream", total, torch.full((MIB,), 100.0))
    return "a side stream, ordered by an event"


def out_of_memory(rig: Rig) -> str:
    """A real one, at a limit set for the occasion; afterwards the device must work as before."""
    if not rig.on_cuda:
        return "not on this device"
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info(rig.device.torch)
    torch.cuda.set_per_process_memory_fraction(0.1, rig.device.torch)
    try:
        refused = not _holds(int(total * 0.2), rig.device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, rig.device.torch)
    if not refused:
        raise DeviceTestError("twice the allowed memory was given out without an error")
    gc.collect()
    torch.cuda.empty_cache()
    allocate(rig)
    return f"refused {total * 0.2 / 2**30:.1f} GiB at a limit of half that, then worked on"


def _holds(n_bytes: int, device: Device) -> bool:
    try:
        torch.empty(n_bytes, dtype=torch.uint8, device=device.torch)
    except torch.OutOfMemoryError:
        return False
    return True
