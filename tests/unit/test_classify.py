"""What the classifier makes of real messages: from issue threads, documentation, and faults made on purpose."""

import signal

import pytest

from jobs.fault import FaultKind, Scope
from worker.devices.classify import CODES, classify, classify_exit, confirm
from worker.devices.kernel_log import judge

K = FaultKind

CUDA_TRAILER = (
    "\nSearch for `cudaErrorSomething' in https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for"
    " more information.\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace"
    " below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with "
    "`TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)
HIP_TRAILER = (
    "\nHIP kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be"
    " incorrect.\nFor debugging consider passing AMD_SERIALIZE_KERNEL=3\nCompile with `TORCH_USE_HIP_DSA` to enable"
    " device-side assertions.\n"
)

EXCEPTIONS = [
    # memory
    ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 7.10 GiB. GPU 0 has a total capacity of 5.98 GiB",
     K.OUT_OF_MEMORY),
    ("OutOfMemoryError", "HIP out of memory. Tried to allocate 432.00 MiB. GPU 0 has a total capacity of 15.92 GiB of "
     "which 7.12 GiB is free.", K.OUT_OF_MEMORY),
    ("RuntimeError", "MPS backend out of memory (MPS allocated: 8.89 GB, other allocations: 172.98 MB, max allowed: "
     "9.07 GB). Tried to allocate 6.25 MB on private pool.", K.OUT_OF_MEMORY),
    ("RuntimeError", "Invalid buffer size: 9.54 GiB", K.OUT_OF_MEMORY),
    ("AcceleratorError", "CUDA error: out of memory" + CUDA_TRAILER, K.OUT_OF_MEMORY),
    ("RuntimeError", "CUDA driver error: out of memory", K.OUT_OF_MEMORY),
    ("RuntimeError", "HIP error: out of memory" + HIP_TRAILER, K.OUT_OF_MEMORY),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", K.OUT_OF_MEMORY),
    ("RuntimeError", "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`", K.OUT_OF_MEMORY),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous "
     "input.", K.OUT_OF_MEMORY),
    ("RuntimeError", "Unable to find a valid cuDNN algorithm to run convolution", K.OUT_OF_MEMORY),
    ("RuntimeError", "GET was unable to find an engine to execute this computation", K.OUT_OF_MEMORY),
    # one operation failed
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", K.KERNEL_FAILED),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED", K.KERNEL_FAILED),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling 'cublasCreate(handle)'", K.KERNEL_FAILED),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb, m, n, k,"
     " &alpha, a, lda, b, ldb, &beta, c, ldc)`", K.KERNEL_FAILED),
    ("RuntimeError", "CUDA error: HIPBLAS_STATUS_NOT_SUPPORTED when calling `HIPBLAS_STATUS_NOT_SUPPORTED`",
     K.KERNEL_FAILED),
    ("RuntimeError", "CUDA error: HIPBLAS_STATUS_INTERNAL_ERROR when calling `hipblasLtMatmul`", K.KERNEL_FAILED),
    ("RuntimeError", "miopenStatusUnknownError", K.KERNEL_FAILED),
    ("RuntimeError", "MIOpen Error: /MIOpen/src/hipoc/hipoc_program.cpp:286: Code object build failed. Source: "
     "MIOpenIm2d2Col.cl", K.KERNEL_FAILED),
    ("RuntimeError", "cuFFT error: CUFFT_INTERNAL_ERROR", K.KERNEL_FAILED),
    ("RuntimeError", "CUDA error: invalid argument" + CUDA_TRAILER, K.KERNEL_FAILED),
    ("AcceleratorError", "CUDA error: file not found", K.KERNEL_FAILED),
    ("AcceleratorError", "CUDA error: unknown error" + CUDA_TRAILER, K.KERNEL_FAILED),
    ("OutOfResources", "out of resource: shared memory, Required: 147456, Hardware limit: 101376. Reducing block sizes "
     "or `num_stages` may help.", K.KERNEL_FAILED),
    ("NotImplementedError", "The operator 'aten::roll' is not currently implemented for the MPS device. If you want"
     " this op to be added in priority during the prototype phase of this feature, please comment", K.KERNEL_FAILED),
    # the context is dead
    ("AcceleratorError", "CUDA error: device-side assert triggered" + CUDA_TRAILER, K.CONTEXT_LOST),
    ("AcceleratorError", "CUDA error: an illegal memory access was encountered" + CUDA_TRAILER, K.CONTEXT_LOST),
    ("AcceleratorError", "HIP error: an illegal memory access was encountered" + HIP_TRAILER, K.CONTEXT_LOST),
    ("RuntimeError", "CUDA error: misaligned address" + CUDA_TRAILER, K.CONTEXT_LOST),
    ("RuntimeError", "CUDA error: unspecified launch failure", K.CONTEXT_LOST),
    ("RuntimeError", "HIP error: unspecified launch failure" + HIP_TRAILER, K.CONTEXT_LOST),
    ("RuntimeError", "CUDA error: the launch timed out and was terminated", K.CONTEXT_LOST),
    ("RuntimeError", "Triton Error [CUDA]: an illegal memory access was encountered", K.CONTEXT_LOST),
    # the device or the build
    ("RuntimeError", "CUDA error: CUDA-capable device(s) is/are busy or unavailable" + CUDA_TRAILER, K.DEVICE_LOST),
    ("RuntimeError", "CUDA error: all CUDA-capable devices are busy or unavailable", K.DEVICE_LOST),
    ("RuntimeError", "No CUDA GPUs are available", K.DEVICE_LOST),
    ("RuntimeError", "No HIP GPUs are available", K.DEVICE_LOST),
    ("RuntimeError", "HIP error: no ROCm-capable device is detected", K.DEVICE_LOST),
    ("RuntimeError", "CUDA error: uncorrectable ECC error encountered" + CUDA_TRAILER, K.HARDWARE),
    ("RuntimeError", "HIP error: invalid device function" + HIP_TRAILER, K.UNSUPPORTED),
    ("RuntimeError", "HIP error: no kernel image is available for execution on the device" + HIP_TRAILER,
     K.UNSUPPORTED),
    ("RuntimeError", "CUDA error: no kernel image is available for execution on the device Compile with "
     "`TORCH_USE_CUDA_DSA` to enable device-side assertions.", K.UNSUPPORTED),
    # the machine
    ("MemoryError", "", K.HOST_MEMORY),
    ("_ArrayMemoryError", "Unable to allocate 3.50 GiB for an array with shape (128, 7340032) and data type float32",
     K.HOST_MEMORY),
    ("RuntimeError", "[enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't allocate memory: you "
     "tried to allocate 132426121216 bytes. Error code 12 (Cannot allocate memory)", K.HOST_MEMORY),
    ("RuntimeError", "[enforce fail at CPUAllocator.cpp:67] . DefaultCPUAllocator: can't allocate memory: you tried to "
     "allocate 170403840 bytes. Error code 12 (Cannot allocate memory)\nIf you encounter CUDA out of memory, try to set"
     " --tile with a smaller number.", K.HOST_MEMORY),
]  # fmt: skip


@pytest.mark.parametrize(("name", "message", "kind"), EXCEPTIONS, ids=[m[:50] or n for n, m, _ in EXCEPTIONS])
def test_a_message_is_known(name, message, kind):
    fault = classify(name, message, step=7, device="cuda:0")
    assert fault is not None
    assert fault.kind is kind
    assert (fault.step, fault.device) == (7, "cuda:0")


NOT_THE_DEVICE = [
    ("FileNotFoundError", "[Errno 2] No such file or directory: '/data/CUDA error: out of memory/sub-01_eeg.bdf'"),
    ("KeyError", "'CUDA out of memory'"),
    ("ValueError", "CUDA error: an illegal memory access was encountered"),
    ("TypeError", "my_loss() got an unexpected keyword argument 'HIP error: '"),
    ("AssertionError", "Torch not compiled with CUDA enabled"),
    ("IndexError", "index 100 is out of bounds for dimension 0 with size 8"),
    ("ImportError", "libcudnn.so.9: cannot open shared object file: CUDNN_STATUS_EXECUTION_FAILED"),
    ("RuntimeError", "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"),
    ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied (128x6400 and 64x1)"),
    ("RuntimeError", "cannot read /home/me/CUDA error: notes/weights.pt"),
    ("RuntimeError", "the folder miopenStatus holds no /tmp/CUDNN_STATUS_EXECUTION_FAILED.txt"),
    ("RuntimeError", "my sampler ran out of memory of earlier subjects"),
    ("RuntimeError", "The size of tensor a (129) must match the size of tensor b (128) at non-singleton dimension 1"),
    ("RuntimeError", "Error(s) in loading state_dict for HIPNet:\n\tMissing key(s) in state_dict: 'GPU Hang.weight'"),
    ("UserModelBroke", "no such layer"),
]


@pytest.mark.parametrize(("name", "message"), NOT_THE_DEVICE, ids=[f"{n}: {m[:40]}" for n, m in NOT_THE_DEVICE])
def test_an_error_of_the_user_is_not_the_devices(name, message):
    assert classify(name, message) is None


@pytest.mark.parametrize(
    "said", ["invalid argument", "invalid resource handle", "operation not supported", "file not found"]
)
def test_torchs_advice_about_assertions_is_not_taken_for_one(said):
    """Every device error ends in 'to enable device-side assertions'; without a code only the text is left."""
    for trailer in (CUDA_TRAILER, HIP_TRAILER, "\nDevice-side assertion tracking was not enabled by user.\n"):
        fault = classify("RuntimeError", f"CUDA error: {said}{trailer}")
        assert fault is not None
        assert fault.kind is K.KERNEL_FAILED


@pytest.mark.parametrize(("code", "kind"), sorted(CODES.items()))
def test_an_error_code_outweighs_the_text(code, kind):
    fault = classify("AcceleratorError", "CUDA error: unknown error", code=code)
    assert fault is not None
    assert fault.kind is kind


def test_an_unknown_accelerator_error_fails_the_kernel_only():
    fault = classify("AcceleratorError", "something new", code=12345)
    assert fault is not None
    assert fault.scope is Scope.BATCH


@pytest.mark.parametrize("message", ["CUDA error: CUBLAS_STATUS_INTERNAL_ERROR", "miopenStatusUnknownError"])
def test_a_dead_device_turns_a_failed_kernel_into_a_lost_context(message):
    fault = classify("RuntimeError", message, sticky=lambda: True)
    assert fault is not None
    assert fault.kind is K.CONTEXT_LOST


def test_a_healthy_device_leaves_the_failed_kernel_a_matter_of_the_batch():
    fault = classify("RuntimeError", "CUDA error: CUBLAS_STATUS_INTERNAL_ERROR", sticky=lambda: False)
    assert fault is not None
    assert fault.scope is Scope.BATCH


def never() -> bool:
    pytest.fail("the device was probed")


def test_the_allocators_own_refusal_needs_no_probe():
    """The probe needs memory itself: asked in the middle of a shortage it would call the device dead."""
    fault = classify("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2 GiB", sticky=never)
    assert fault is not None
    assert fault.kind is K.OUT_OF_MEMORY


def test_a_lost_context_is_not_probed_either():
    classify("RuntimeError", "CUDA error: misaligned address", sticky=never)


DEATHS = [
    (-6, "Memory access fault by GPU node-1 (Agent handle: 0x1f829860) on address 0x7a8a4be00000. Reason: Page not "
     "present or supervisor privilege.\nAborted (core dumped)", K.CONTEXT_LOST),
    (-6, "HW Exception by GPU node-1 (Agent handle: 0x3508fba0) reason :GPU Hang\nFatal Python error: Aborted\n",
     K.CONTEXT_LOST),
    (-6, ":0:rocdevice.cpp:3586: Callback: Queue 0x7f78cb400000 aborting with error : HSA_STATUS_ERROR_EXCEPTION: An "
     "HSAIL operation resulted in a hardware exception. code: 0x1016", K.CONTEXT_LOST),
    (-6, ":0:rocdevice.cpp            :3018: 128688649210d us:  Callback: Queue 0x7f7f4d000000 aborting with error : "
     "HSA_STATUS_ERROR_INVALID_ISA: The instruction set architecture is invalid. code: 0x100f", K.UNSUPPORTED),
    (-6, '"hipErrorNoBinaryForGpu: Unable to find code object for all current devices!"\nAborted (core dumped)',
     K.UNSUPPORTED),
    (-6, "rocBLAS error: Cannot read /opt/rocm/lib/rocblas/library/TensileLibrary.dat: Illegal seek for GPU arch : "
     "gfx1010", K.UNSUPPORTED),
    (-6, "terminate called after throwing an instance of 'c10::Error'\n  what():  CUDA error: unspecified launch "
     "failure (insert_events at /pytorch/c10/cuda/CUDACachingAllocator.cpp:764)\nframe #0: c10::Error::Error(...)",
     K.CONTEXT_LOST),
    (1, "Traceback (most recent call last):\n  File \"loop.py\", line 3\ntorch.AcceleratorError: CUDA error: an "
     "illegal memory access was encountered" + CUDA_TRAILER, K.CONTEXT_LOST),
    (1, "RuntimeError: CUDA error: uncorrectable ECC error encountered", K.HARDWARE),
    (-11, "Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f (most recent call first):\n  File x",
     K.KILLED),
    (139, "", K.KILLED),
    (-9, "", K.KILLED),
    (-9, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", K.KILLED),
    (-6, "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc", K.HOST_MEMORY),
    (-15, "", K.STOPPED),
    (143, "", K.STOPPED),
    (0, "", K.KILLED),
]  # fmt: skip


@pytest.mark.parametrize(("status", "last_words", "kind"), DEATHS, ids=[f"{s} {w[:40]}" for s, w, _ in DEATHS])
def test_a_death_is_known_by_its_status_and_last_words(status, last_words, kind):
    fault = classify_exit(status, last_words, killed_for_memory=False, accelerator=True, device="cuda:0")
    assert (fault.kind, fault.exit_status) == (kind, status)


def test_the_kernels_kill_for_memory_is_the_hosts_fault():
    fault = classify_exit(-9, "", killed_for_memory=True, accelerator=True, device="cuda:0")
    assert (fault.kind, fault.scope) == (K.HOST_MEMORY, Scope.ATTEMPT)


def test_somebody_elses_memory_kill_does_not_excuse_an_abort():
    words = "HW Exception by GPU node-1 (Agent handle: 0x1) reason :GPU Hang"
    fault = classify_exit(-signal.SIGABRT, words, killed_for_memory=True, accelerator=True, device="cuda:0")
    assert fault.kind is K.CONTEXT_LOST


def test_a_death_on_the_cpu_is_not_read_as_a_devices():
    fault = classify_exit(
        -6, "Memory access fault by GPU node-1", killed_for_memory=False, accelerator=False, device="cpu"
    )
    assert fault.kind is K.KILLED


def test_the_last_words_are_quoted_where_they_say_something():
    words = (
        "epoch 3\nwarning: slow\nHW Exception by GPU node-1 (Agent handle: 0x1) reason :GPU Hang\nFatal Python error"
    )
    fault = classify_exit(-6, words, killed_for_memory=False, accelerator=True, device="cuda:0")
    assert fault.message == (
        "the trainer died (SIGABRT): HW Exception by GPU node-1 (Agent handle: 0x1) reason :GPU Hang"
    )


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("NVRM: Xid (PCI:0000:44:00): 79, GPU has fallen off the bus.", K.HARDWARE),
        ("NVRM: Xid (PCI:0000:9b:00): 94, pid=1234, name=python3, Contained ECC error", K.HARDWARE),
        (
            "NVRM: Xid (PCI:0000:9b:00): 48, pid=77, An uncorrectable double bit error (DBE) has been detected",
            K.HARDWARE,
        ),
        ("NVRM: Xid (PCI:0000:cb:00): 13, pid='<unknown>', name=<unknown>, Graphics SM Warp Exception", K.KILLED),
        ("amdgpu 0000:0a:00.0: amdgpu: GPU reset begin!", K.KILLED),
    ],
)
def test_the_kernels_log_tells_broken_hardware_from_a_crash(line, kind):
    fault = classify_exit(-9, "", killed_for_memory=False, accelerator=True, device="cuda:0")
    confirmed = confirm(fault, judge([line]))
    assert confirmed.kind is kind
    assert line in (confirmed.hint or "")


def test_the_kernels_log_does_not_blame_a_card_for_the_hosts_memory():
    fault = classify_exit(-9, "", killed_for_memory=True, accelerator=True, device="cuda:0")
    assert confirm(fault, judge(["NVRM: Xid (PCI:0000:44:00): 79, GPU has fallen off the bus."])) == fault


def test_the_stacks_that_python_prints_do_not_hide_what_was_said():
    stacks = "Fatal Python error: Aborted\n\nThread 0x1:\n  File x\n\nExtension modules: numpy (total: 1)\n"
    said = classify_exit(-6, "terminate called: boom\n" + stacks, killed_for_memory=False, accelerator=True, device="d")
    assert said.message == "the trainer died (SIGABRT): terminate called: boom"
    bare = classify_exit(-6, stacks, killed_for_memory=False, accelerator=True, device="d")
    assert bare.message == "the trainer died (SIGABRT): Fatal Python error: Aborted"
