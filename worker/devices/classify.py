"""classify(): a failure's text, error code or exit status -> Fault. Table-driven; imports no torch.

The order is: class name, error code, text, sticky probe; a process that died is judged by its exit status and its
last words. CUDA's codes are HIP's where both exist.
"""

import re
import signal
from collections.abc import Callable

from jobs.fault import Fault, FaultKind

K = FaultKind

CODES = {
    2: K.OUT_OF_MEMORY,
    46: K.DEVICE_LOST,  # devices busy or unavailable
    98: K.UNSUPPORTED,  # invalid device function
    100: K.DEVICE_LOST,  # no device
    101: K.DEVICE_LOST,  # invalid device
    209: K.UNSUPPORTED,  # no kernel image for the device
    214: K.DEVICE_LOST,  # uncorrectable ECC error
    700: K.CONTEXT_LOST,  # illegal address
    702: K.CONTEXT_LOST,  # launch timeout
    710: K.CONTEXT_LOST,  # device-side assert
    714: K.CONTEXT_LOST,
    715: K.CONTEXT_LOST,
    716: K.CONTEXT_LOST,  # misaligned address
    717: K.CONTEXT_LOST,
    718: K.CONTEXT_LOST,
    719: K.CONTEXT_LOST,  # launch failure
    721: K.CONTEXT_LOST,
}

TEXTS: tuple[tuple[str, FaultKind], ...] = (
    (r"invalid device function|no kernel image|hipErrorNoBinaryForGpu|hipErrorInvalidDeviceFunction", K.UNSUPPORTED),
    (r"uncorrectable ECC|ECC error|fallen off the bus|device (is )?lost|DEVICE_LOST|no (CUDA|ROCm|HIP)-capable device"
     r"|hipErrorNoDevice|CUDA-capable device\(s\) is/are busy|Unable to determine the device handle", K.DEVICE_LOST),
    (r"Memory access fault by GPU|HW Exception by GPU|GPU Hang|HSA_STATUS_ERROR", K.CONTEXT_LOST),
    (r"device-side assert|illegal memory access|misaligned address|unspecified launch failure|launch timed out"
     r"|illegal instruction|hipErrorLaunchFailure|hipErrorIllegalAddress|hipErrorAssert", K.CONTEXT_LOST),
    (r"out of memory|OutOfMemory|CU(DA|BLAS)_STATUS_ALLOC_FAILED|HIPBLAS_STATUS_ALLOC_FAILED|miopenStatusAllocFailed"
     r"|CUDNN_STATUS_NOT_SUPPORTED|CUDNN_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED", K.OUT_OF_MEMORY),
    (r"^(CUDA|HIP) error:|miopenStatus|MIOpen Error|CU(DNN|BLAS|FFT|SPARSE|SOLVER)_(STATUS_)?\w+"
     r"|(HIPBLAS|ROCBLAS|HIPFFT|rocblas|hipfft)_?\w*|cuDNN error|nccl\w* error|MPS backend"
     r"|Triton Error", K.KERNEL_FAILED),
)  # fmt: skip

WHAT_TO_DO = {
    K.OUT_OF_MEMORY: "a smaller training.batch_size fits sooner",
    K.UNSUPPORTED: "this build of torch has no code for the card: see docs/rocm.md",
    K.DEVICE_LOST: "look at the kernel log; the device works again after its tests pass",
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

    `sticky` probes whether the device still works; it is asked only where that is unclear.
    """
    kind = _kind(error_name, message, code)
    if kind is None:
        return None
    if kind in (K.OUT_OF_MEMORY, K.KERNEL_FAILED) and sticky is not None and sticky():
        kind = K.CONTEXT_LOST
    return Fault(kind, first_line(message), step, device, WHAT_TO_DO.get(kind))


def _kind(error_name: str, message: str, code: int | None) -> FaultKind | None:
    if error_name == "OutOfMemoryError":
        return K.OUT_OF_MEMORY
    if code is not None and code in CODES:
        return CODES[code]
    for pattern, kind in TEXTS:
        if re.search(pattern, message, re.MULTILINE):
            return kind
    return K.KERNEL_FAILED if error_name == "AcceleratorError" else None


def classify_exit(status: int, last_words: str, *, killed_for_memory: bool, accelerator: bool, device: str) -> Fault:
    """What a trainer's death means. `status` is that of Popen: negative is a signal.

    On the CPU a death is the job's own crash: the same kind, its scope is settled by where it ran.
    """
    if killed_for_memory:
        return Fault(
            K.HOST_MEMORY, "the kernel killed the trainer for memory", None, device, WHAT_TO_DO[K.HOST_MEMORY], status
        )
    name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    kind = _kind("", last_words, None) if accelerator else None
    if kind in (None, K.OUT_OF_MEMORY, K.KERNEL_FAILED):
        kind = K.KILLED
    said = first_line(last_words)
    return Fault(
        kind, f"the trainer died ({name})" + (f": {said}" if said else ""), None, device, WHAT_TO_DO.get(kind), status
    )


def first_line(text: str, limit: int = 300) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:limit] if lines else ""
