"""Lets braindecode import beside a torch without CUDA: `python -m eegq.mend_torchaudio`. Standard library only.

braindecode imports torchaudio, whose wheel on PyPI holds one native library that needs CUDA's, so that importing it
beside a CPU or ROCm torch fails. Without that library torchaudio runs in pure Python, which is all that is used of it.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

NATIVE_LIBRARY = "_torchaudio.abi3.so"


def mend() -> str:
    """What was done, as a sentence. Raises RuntimeError where torchaudio does not import even then."""
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or spec.origin is None:
        return "torchaudio is not installed"
    if imports() is None:
        return "torchaudio imports as it is"
    library = Path(spec.origin).parent / "lib" / NATIVE_LIBRARY
    library.unlink(missing_ok=True)
    if reason := imports():
        raise RuntimeError(f"torchaudio does not import: {reason}")
    return f"removed {library}: torchaudio now runs in pure Python"


def imports() -> str | None:
    """None where `import torchaudio` works, in a process of its own, else the last line of its error."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", "import torchaudio"], capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]


if __name__ == "__main__":
    print(f"[eegq] {mend()}", file=sys.stderr)
