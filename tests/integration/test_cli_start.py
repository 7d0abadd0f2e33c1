"""How quickly `eegq` starts, and what it leaves alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

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


def test_every_command_has_help_with_an_example() -> None:
    from typer.main import get_command

    from eegq.cli import app

    commands = dict(_leaves("eegq", get_command(app)))
    assert {"eegq submit", "eegq watch", "eegq pull", "eegq up", "eegq datasets check"} <= set(commands)
    bare = [name for name, command in commands.items() if f"[dim]{_first_word(name)}" not in (command.help or "")]
    assert bare == []


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by what one types."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from _leaves(f"{name} {word}", inner)


def _first_word(name: str) -> str:
    return "curl" if name == "eegq key" else name


def test_shells_can_complete_it() -> None:
    """What the shell calls when one types `eegq re<TAB>`."""
    asked = {"_EEGQ_COMPLETE": "complete_bash", "COMP_WORDS": "eegq re", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "from eegq.cli import app; app(prog_name='eegq')"]
    offered = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True).stdout
    assert set(offered.split()) == {"retry", "resume", "reproduce"}
