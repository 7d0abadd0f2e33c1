"""What is wrong with this machine? `python -m worker.devices.doctor [--gpu]`, one JSON line a finding.

Looks and asks; changes nothing but `.env`, that only with --gpu for an AMD card that needs it, and says so. Imports no
torch: what needs it runs in processes of their own.
"""

import argparse
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from worker.devices.arch import in_build
from worker.devices.bootrecord import BootRecords
from worker.devices.classify import first_line
from worker.devices.probe import Choice, Rows, choose, examine, failure_of
from worker.devices.readings import gfx_names
from worker.devices.tuning import MANAGED, TRIAL, fastest, tune, write_env

LOW_DISK_GB = 5.0
ASK_S = 180.0
TORCH = (
    "import json, torch; flags = getattr(torch._C, '_cuda_getArchFlags', lambda: '')();"
    "print(json.dumps([torch.__version__, torch.version.cuda, torch.version.hip, (flags or '').split()]))"
)
BRAINDECODE = "import braindecode.models; print(braindecode.__version__)"
NVIDIA_CARDS = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
NODES = ("dev/kfd", "dev/dri/renderD*", "dev/nvidiactl", "dev/nvidia[0-9]*")


@dataclass(frozen=True)
class Finding:
    """`verdict` is ok, note or fails; `hint` says what to do."""

    check: str
    verdict: str
    detail: str
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Settings:
    """What the worker of this machine would be told; only this file's main reads it from the environment."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    redis_username: str = ""
    redis_password_file: Path | None = None
    runs: Path = Path("runs")
    cache: Path = Path("cache")
    device: str = "auto"

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> "Settings":
        def given(name: str, otherwise: str) -> str:
            return env.get(f"EEGQ_{name}") or otherwise

        password = env.get("EEGQ_REDIS_PASSWORD_FILE")
        return cls(
            given("REDIS_URL", cls.redis_url), given("REDIS_USERNAME", ""), Path(password) if password else None,
            Path(given("RUNS", "runs")), Path(given("CACHE", "cache")), given("DEVICE", "auto"),
        )  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """Of a command: its status, None if it could not be run."""

    status: int | None
    out: str
    err: str


def run_command(command: list[str]) -> Answer:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Answer(None, "", str(error))
    return Answer(done.returncode, done.stdout, done.stderr)


def may_use(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


@dataclass(frozen=True)
class Machine:
    """Everything outside that is looked at or asked, so that a test can bring its own."""

    root: Path = Path("/")
    run: Callable[[list[str]], Answer] = run_command
    may_use: Callable[[Path], bool] = may_use
    choose: Callable[..., Choice] = choose
    examine: Callable[..., Rows] = examine
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)


def look(machine: Machine, settings: Settings) -> Iterator[Finding]:
    """What can be seen without touching a GPU."""
    yield redis_reachable(settings)
    yield from disks(settings)
    yield from torch_and_cards(machine)
    yield braindecode(machine)
    yield from nodes(machine)


def look_at_gpu(machine: Machine, settings: Settings, env_file: Path) -> Iterator[Finding]:
    """The full device tests on the CPU and the first GPU; for an AMD card that fails, the search for settings."""
    yield from tested("cpu", machine.examine("cpu", "full"))
    records = BootRecords(settings.cache / "boot")
    crashes = records.crashes()
    for record in crashes:
        yield Finding(f"{record.device} last boot", "fails", str(record), "clear the device when you trust it again")
    if any(not record.what.startswith(TRIAL) for record in crashes):
        return
    choice = machine.choose(settings.device if settings.device.startswith("cuda") else "auto", records=records)
    cards = gfx_names(machine.root / "sys")
    if choice.device is None and not cards:
        yield Finding("gpu", "note", choice.reason, "auto jobs run on the CPU pool")
        return
    if choice.device is not None and not crashes:
        yield Finding("gpu", "ok", choice.description or choice.device)
        yield from tested(choice.device, machine.examine(choice.device, "full"))
        return
    yield Finding("gpu", "fails", choice.reason)
    if cards:
        yield from tuned(machine, choice.device or "cuda:0", cards[0], records, env_file)


def tested(device: str, rows: Rows) -> Iterator[Finding]:
    for row in rows:
        if "test" in row:
            yield Finding(f"{device} {row['test']}", "ok" if row["ok"] else "fails", str(row["detail"]))
        elif "capability" in row:
            yield Finding(f"{device} {row['capability']}", "ok" if row["ok"] else "note", str(row["detail"]))
    if (failure := failure_of(rows, device)) is not None:
        yield Finding(device, "fails", failure.message, "jobs run on the CPU pool until it passes")


def tuned(machine: Machine, device: str, gfx: str, records: BootRecords, env_file: Path) -> Iterator[Finding]:
    """Tries settings, each in a process of its own, and writes the fastest that computes rightly."""
    bare = {name: value for name, value in machine.env.items() if name not in MANAGED}
    trials = []
    for trial in tune(gfx, device, lambda s: machine.examine(device, "full", env={**bare, **s}), records):
        trials.append(trial)
        named = " ".join(f"{k}={v}" for k, v in trial.settings.items()) or "no settings"
        took = f"right, {trial.convolution_ms} ms" if trial.convolution_ms is not None else "right"
        yield Finding(f"{gfx}: {named}", "note" if trial.failure else "ok", trial.failure or took)
    best = fastest(trials)
    if best is None:
        yield Finding(gfx, "fails", "computes rightly under none of them", "docs/rocm.md; CPU workers do the work")
        return
    lines = " ".join(f"{name}={value}" for name, value in best.settings.items())
    if not env_file.exists():
        yield Finding("settings", "note", f"not written, there is no {env_file}", f"put into .env: {lines}")
        return
    write_env(env_file, best.settings)
    yield Finding("settings", "ok", f"wrote {lines or 'no settings'} into {env_file}", "start the GPU worker again")


# --- checks ----------------------------------------------------------------------------------------------------------


def redis_reachable(settings: Settings) -> Finding:
    """A PING over a plain socket: this side of the house knows no Redis."""
    where = settings.redis_url.rpartition("@")[2].removeprefix("redis://")
    try:
        reply = ping(settings)
    except (OSError, ValueError) as error:
        return Finding("redis", "fails", f"{where}: {error}", "start it, or set EEGQ_REDIS_URL")
    if reply.startswith("+PONG"):
        return Finding("redis", "ok", where)
    return Finding("redis", "fails", f"{where}: {reply}", "EEGQ_REDIS_USERNAME and EEGQ_REDIS_PASSWORD_FILE")


def ping(settings: Settings, timeout_s: float = 3.0) -> str:
    """The last line of the answer to AUTH (where there is a password) and PING."""
    parts, commands = urlsplit(settings.redis_url), [["PING"]]
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if settings.redis_password_file is not None:
        user, password = settings.redis_username, settings.redis_password_file.read_text().strip()
    if password:
        commands.insert(0, ["AUTH", *filter(None, (user, password))])
    with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), timeout_s) as plain:
        secure = parts.scheme == "rediss"
        with (
            ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname) if secure else plain as line
        ):
            reply = ""
            for command in commands:
                line.sendall(_resp(command))
                reply = line.recv(512).decode(errors="replace").strip()
                if reply.startswith("-"):
                    break
            return reply


def _resp(words: list[str]) -> bytes:
    """Redis's wire format of a command."""
    parts = [f"*{len(words)}\r\n".encode()]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in (w.encode() for w in words)]
    return b"".join(parts)


def disks(settings: Settings) -> Iterator[Finding]:
    for name, folder in (("runs", settings.runs), ("cache", settings.cache)):
        there = next((p for p in (folder, *folder.resolve().parents) if p.exists()), Path("/"))
        free_gb = shutil.disk_usage(there).free / 1e9
        low = free_gb < LOW_DISK_GB
        hint = "checkpoints and prepared signals need room: `eegq gc`" if low else None
        yield Finding(f"disk of {name}", "note" if low else "ok", f"{free_gb:.0f} GB free at {folder.resolve()}", hint)


def torch_and_cards(machine: Machine) -> Iterator[Finding]:
    """The build, and whether it holds code for the cards of this machine."""
    answer = machine.run([sys.executable, "-W", "ignore", "-c", TORCH])
    if answer.status != 0:
        yield Finding("torch", "fails", last_line(answer.err), "pip install 'eegq[worker]'")
        return
    version, cuda, hip, built_for = json.loads(answer.out.splitlines()[-1])
    kind = f"ROCm {hip}" if hip else f"CUDA {cuda}" if cuda else "CPU only"
    yield Finding("torch", "ok", f"{version}, {kind}")
    amd, nvidia = gfx_names(machine.root / "sys"), list(nvidia_cards(machine))
    for card, arch in [*((gfx, gfx) for gfx in amd), *nvidia]:
        yield _build_for(card, arch, built_for, kind, needs="ROCm" if arch.startswith("gfx") else "CUDA")


def _build_for(card: str, arch: str, built_for: list[str], kind: str, needs: str) -> Finding:
    if not kind.startswith(needs):
        return Finding(card, "note", f"this torch ({kind}) cannot use it", f"install a torch for {needs}: docs/rocm.md")
    if in_build(arch, built_for):
        return Finding(card, "ok", f"{arch} is in this build")
    held = ", ".join(built_for) or "nothing that it tells"
    remedy = "docs/rocm.md says which wheel; `eegq doctor --gpu` tries settings" if needs == "ROCm" else "a newer torch"
    return Finding(card, "fails", f"this build has no code for {arch} (it holds {held})", remedy)


def nvidia_cards(machine: Machine) -> Iterator[tuple[str, str]]:
    """(name, sm_XY) of each card that NVIDIA's tool lists."""
    answer = machine.run(NVIDIA_CARDS)
    for line in answer.out.splitlines() if answer.status == 0 else []:
        name, _, capability = line.rpartition(",")
        yield name.strip(), f"sm_{capability.strip().replace('.', '')}"


def braindecode(machine: Machine) -> Finding:
    answer = machine.run([sys.executable, "-W", "ignore", "-c", BRAINDECODE])
    if answer.status != 0:
        return Finding("braindecode", "fails", last_line(answer.err), f"{sys.executable} -m eegq.mend_torchaudio")
    return Finding("braindecode", "ok", last_line(answer.out))


def nodes(machine: Machine) -> Iterator[Finding]:
    """Device files: there, and open to this process?"""
    if gfx_names(machine.root / "sys") and not (machine.root / "dev/kfd").exists():
        yield Finding("/dev/kfd", "fails", "missing, though the kernel lists an AMD card", "pass it into the container")
    for path in sorted(p for pattern in NODES for p in machine.root.glob(pattern)):
        name = f"/{path.relative_to(machine.root)}"
        if machine.may_use(path):
            yield Finding(name, "ok", "readable and writable")
            continue
        group = path.stat().st_gid
        yield Finding(
            name, "fails", f"not open to this user; group {group} may", f"join it: sudo usermod -aG {group} $USER"
        )


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return first_line(lines[-1]) if lines else ""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.devices.doctor", description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="also run the device tests, and find settings that help")
    parser.add_argument(
        "--env-file", type=Path, default=Path(".env"), help="where settings for an AMD card are written"
    )
    args = parser.parse_args(argv)
    machine, settings, sound = Machine(), Settings.from_environment(os.environ), True
    checks = [look(machine, settings)] + ([look_at_gpu(machine, settings, args.env_file)] if args.gpu else [])
    for finding in (found for check in checks for found in check):
        print(json.dumps(finding.to_dict()), flush=True)
        sound = sound and finding.verdict != "fails"
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
