"""Freed memory is kept: what a step frees, the next one gets without the kernel."""

import subprocess
import sys

import pytest

ASK_AGAIN = """
import resource, sys
from worker.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
size = 64 << 20  # beyond what glibc ever keeps by itself
bytes(size)
before = faults()
for _ in range(5):
    bytearray(b"1" * size)
print(faults() - before)
"""


def faults_of(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", ASK_AGAIN, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_that_was_freed_is_used_again() -> None:
    let_go, kept = faults_of("let go"), faults_of("keep")
    assert kept < let_go / 2  # one first touch of what two buffers need, against ten
