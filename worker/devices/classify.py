"""classify(): a failure's class, error code, text or exit status -> Fault. A table; imports no torch.

Asked in this order: the class of the exception, its error code, its text, and where that leaves it open, whether the
device still works (the sticky probe). A process that died is judged by its exit status and its last words.
CUDA's error codes are HIP's where both exist.
"""

import builtins
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

from jobs.fault import Fault, FaultKind
from worker.devices.kernel_log import Hint

K = FaultKind

CODES = {
    2: K.OUT_OF_MEMORY,
    46: K.DEVICE_LOST,  # devices busy or unavailable
    98: K.UNSUPPORTED,  # invalid device function
    100: K.DEVICE_LOST,  # no device
    101: K.DEVICE_LOST,  # invalid device
    200: K.UNSUPPORTED,  # device kernel image is invalid
    209: K.UNSUPPORTED,  # no kernel image for the device
    214: K.HARDWARE,  # uncorrectable memory (ECC) error
    220: K.HARDWARE,  # uncorrectable NVLink error
    700: K.CONTEXT_LOST,  # illegal address
    702: K.CONTEXT_LOST,  # launch timeout
    709: K.CONTEXT_LOST,  # context is destroyed
    710: K.CONTEXT_LOST,  # device-side assert
    714: K.CONTEXT_LOST,  # hardware stack error
    715: K.CONTEXT_LOST,  # illegal instruction
    716: K.CONTEXT_LOST,  # misaligned address
    717: K.CONTEXT_LOST,  # invalid address space
    718: K.CONTEXT_LOST,  # invalid program counter
    719: K.CONTEXT_LOST,  # launch failure
}

# What torch appends to every device error. It speaks of assertions and debugging whatever has happened.
TRAILER = re.compile(
    r"^(Search for `|(CUDA|HIP) kernel errors might|For debugging consider|Compile with `?TORCH_USE|Exception raised "
    r"|Device-side assertion tracking)"
)
ERROR_CLASS = r"(?:[\w.]*(?:Error|Exception): |what\(\):\s+)?"  # as a traceback's last line or a C++ abort begins
RUNTIME = re.compile(rf"^{ERROR_CLASS}(?:(?:CUDA|HIP)(?: driver)? error: |Triton Error \[(?:CUDA|HIP)\]: )(?P<said>.*)")
SAID: tuple[tuple[str, FaultKind], ...] = (
    (r"invalid device function|no kernel image|kernel image is invalid|_ARCH_MISMATCH", K.UNSUPPORTED),
    (r"uncorrectable (ECC|NVLink)", K.HARDWARE),
    (r"busy or unavailable|no (CUDA|ROCm|HIP)-capable device|invalid device ordinal|system not yet initialized",
     K.DEVICE_LOST),
    (r"illegal memory access|device-side assert triggered|misaligned address|unspecified launch failure"
     r"|launch timed out|illegal instruction|hardware stack error|invalid program counter|context is destroyed"
     r"|not supported on global/shared address space", K.CONTEXT_LOST),
    (r"out of memory|_ALLOC_FAILED|CUDNN_STATUS_NOT_SUPPORTED", K.OUT_OF_MEMORY),
    (r"", K.KERNEL_FAILED),
)  # fmt: skip
LINES: tuple[tuple[str, FaultKind], ...] = (
    (r"DefaultCPUAllocator: |^std::bad_alloc|what\(\):  std::bad_alloc|Cannot allocate memory", K.HOST_MEMORY),
    (r"hipErrorNoBinaryForGpu|HSA_STATUS_ERROR_INVALID_ISA|rocBLAS error: Cannot read .*TensileLibrary", K.UNSUPPORTED),
    (r"GPU has fallen off the bus|fallen off the bus and is not responding", K.HARDWARE),
    (rf"^{ERROR_CLASS}No (CUDA|HIP) GPUs are available|^{ERROR_CLASS}Found no NVIDIA driver"
     rf"|^{ERROR_CLASS}CUDA unknown error|Unable to determine the device handle", K.DEVICE_LOST),
    (r"^Memory access fault by GPU node|^HW Exception by GPU node|HSA_STATUS_ERROR_\w+"
     r"|CommandBufferCallbackError(Hang|PageFault|InvalidResource)", K.CONTEXT_LOST),
    (rf"^{ERROR_CLASS}(CUDA|HIP|MPS backend) out of memory|^{ERROR_CLASS}Invalid buffer size: [\d.]+ \wi?B"
     r"|Unable to find a valid cuDNN algorithm|unable to find an engine to execute this computation"
     r"|(?<![\w/.-])(CUDNN_STATUS_(NOT_SUPPORTED|ALLOC_FAILED)|(CU|HIP)BLAS_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED"
     r"|miopenStatusAllocFailed)|CommandBufferCallbackErrorOutOfMemory", K.OUT_OF_MEMORY),
    (r"(?<![\w/.-])(CU(DNN|BLAS|SPARSE|SOLVER)_STATUS_[A-Z_]+|(CU|HIP)FFT_[A-Z_]+"
     r"|(HIP(BLAS|SPARSE|SOLVER)|ROC(BLAS|FFT))_STATUS_[A-Z_]+|(rocblas|hipfft|rocfft)_status_\w+"
     rf"|miopenStatus[A-Z]\w+)|^{ERROR_CLASS}MIOpen Error: |^rocBLAS error: |^{ERROR_CLASS}MPS backend "
     r"|command buffer exited with error status|CommandBufferCallbackError|out of resource: shared memory"
     r"|not currently implemented for the MPS device|(CUDA|HIP)CachingAllocator", K.KERNEL_FAILED),
)  # fmt: skip

# A device's failures are RuntimeErrors. What these say of CUDA is in a path, a key or a shape.
PYTHONS_OWN = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
} - {"RuntimeError", "NotImplementedError", "SystemError", "Exception", "BaseException"}
TOLD_TO_STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

WHAT_TO_DO = {
    K.OUT_OF_MEMORY: "a smaller training.batch_size fits sooner",
    K.UNSUPPORTED: "this build of torch has no code for the card: see docs/rocm.md",
    K.DEVICE_LOST: "look at the kernel log; the device works again after its tests pass",
    K.HARDWARE: "the card needs a person: look at the kernel log, its power and its cooling, then clear the device",
    K.HOST_MEMORY: "the machine ran out of memory: a smaller dataset, batch or fewer workers",
}


def classify(
    error_name: str,
    message: str,
    *,
    code: int | None = None,
    sticky: Callable[[], bool] | None = None,
    step: int | None = None,
    device: str | None = None,
) -> Fault | None:
    """What an exception on a device means; None if it is no device error (a Python error in what the user chose).

    `sticky` probes whether the device is dead; it is asked only where that is unclear.
    """
    kind = _kind(error_name, message, code)
    if kind is None:
        return None
    if _in_doubt(kind, error_name) and sticky is not None and sticky():
        kind = K.CONTEXT_LOST
    return Fault(kind, first_line(message), step, device, WHAT_TO_DO.get(kind))


def classify_exit(status: int, last_words: str, *, killed_for_memory: bool, accelerator: bool, device: str) -> Fault:
    """What a trainer's death means. `status` is that of Popen: negative is a signal; a shell adds 128 to it instead.

    On the CPU a death is the job's own crash: the same kind, its scope is settled by where it ran.
    """
    killer = _signal_of(status)
    line, said = _telling(last_words)
    if (killed_for_memory and killer in (None, signal.SIGKILL)) or said is K.HOST_MEMORY:
        kind, line = K.HOST_MEMORY, line if said is K.HOST_MEMORY else "the kernel killed it for memory"
    elif killer in TOLD_TO_STOP:
        kind = K.STOPPED
    elif accelerator and said not in (None, K.OUT_OF_MEMORY, K.KERNEL_FAILED):
        kind = said
    else:
        kind = K.KILLED
    how = killer.name if killer else f"exit status {status}"
    message = f"the trainer died ({how})" + (f": {line}" if line else "")
    return Fault(kind, message, None, device, WHAT_TO_DO.get(kind), status)


def confirm(fault: Fault, hints: Sequence[Hint]) -> Fault:
    """The fault with what the kernel's log adds: a line about broken hardware outweighs what the process saw."""
    if not hints or fault.kind in (K.HOST_MEMORY, K.STOPPED):
        return fault
    worst = hints[0]
    kind = K.HARDWARE if worst.broken else fault.kind
    hint = "; ".join(part for part in (str(worst), WHAT_TO_DO.get(kind)) if part)
    return replace(fault, kind=kind, hint=hint)


def first_line(text: str, limit: int = 300) -> str:
    """The first line that says something."""
    return next((line.strip()[:limit] for line in text.splitlines() if line.strip()), "")


def _kind(error_name: str, message: str, code: int | None) -> FaultKind | None:
    if error_name == "OutOfMemoryError":
        return K.OUT_OF_MEMORY
    if error_name.endswith("MemoryError"):  # Python's and NumPy's
        return K.HOST_MEMORY
    if error_name in PYTHONS_OWN:
        return None
    if code is not None and code in CODES:
        return CODES[code]
    said = _telling(message)[1]
    return K.KERNEL_FAILED if said is None and error_name == "AcceleratorError" else said


def _in_doubt(kind: FaultKind, error_name: str) -> bool:
    """torch's own allocator found memory missing before it touched the device; any other shortage may be an illness."""
    return kind is K.KERNEL_FAILED or (kind is K.OUT_OF_MEMORY and error_name != "OutOfMemoryError")


def _telling(text: str) -> tuple[str, FaultKind | None]:
    """The line that says what happened and what it means; without one, the last line."""
    own = re.split(r"^(?=Fatal Python error)", text, maxsplit=1, flags=re.M)
    said = own[0] if own[0].strip() else own[-1][:300].partition("\n")[0]  # faulthandler's stacks say where, not what
    lines = [line.strip() for line in said.splitlines() if line.strip() and not TRAILER.match(line.strip())]
    for line in lines:
        if (kind := _of_line(line)) is not None:
            return line[:300], kind
    return (lines[-1][:300] if lines else ""), None


def _of_line(line: str) -> FaultKind | None:
    table, said = LINES, line
    if match := RUNTIME.match(line):
        table, said = SAID, match["said"]
    return next((kind for pattern, kind in table if re.search(pattern, said)), None)


def _signal_of(status: int) -> signal.Signals | None:
    number = -status if status < 0 else status - 128
    try:
        return signal.Signals(number)
    except ValueError:
        return None
