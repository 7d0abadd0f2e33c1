"""How quickly `eegq` starts, and what it leaves alone."""

import os
import re
import subprocess
import sys

HEAVY = ("torch", "mne", "braindecode", "numpy", "pandas", "redis", "celery", "fastapi", "httpx", "pydantic")


def test_help_comes_quickly() -> None:
    """In processor time: a busy machine is not the program's fault."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "eegq", "--help"], check=True, capture_output=True)
    after = os.times()
    assert (after.children_user - before.children_user) + (after.children_system - before.children_system) < 0.5


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, eegq.cli; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )
    assert not loaded & set(HEAVY)


def test_the_client_imports_without_torch_or_pandas() -> None:
    script = "import sys; from eegq import Client, AsyncClient; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )
    assert not loaded & {
        "torch",
        "mne",
        "braindecode",
        "numpy",
        "pandas",
        "redis",
        "celery",
        "fastapi",
        "service",
        "worker",
    }


def test_every_command_has_help() -> None:
    root = subprocess.run([sys.executable, "-m", "eegq", "--help"], check=True, capture_output=True, text=True).stdout
    commands = re.findall(r"^│ ([a-z]+)  ", root, re.MULTILINE)
    assert {"submit", "watch", "ls", "pull", "up", "demo", "doctor", "reproduce", "compare"} <= set(commands)
