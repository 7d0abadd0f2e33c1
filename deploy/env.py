"""Writes .env, the folders and the secrets for this machine: `python3 -m deploy.env`. Standard library only.

What .env already says stays; only missing lines are added. Knows no compose file and no package.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.machine import AmdGpu, Machine, look
from deploy.redis_users import make_secrets
from deploy.wheels import wheel_for

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Written by `make env` for this machine. Edit it: a second run keeps your lines and adds missing ones.\n"
LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
IMAGE_USER = (1000, 1000)


@dataclass(frozen=True)
class Setting:
    key: str
    value: str
    why: str


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    machine = look(options.machine)
    kept = write_env(options.folder / ".env", settings(machine, caller()))
    prepare(options.folder, kept)
    for note in notes(machine, kept):
        print(f"[eegq] {note}", file=sys.stderr)
    print(f"[eegq] {options.folder / '.env'} is ready; next: docker compose up", file=sys.stderr)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m deploy.env", description="Writes .env for docker compose.")
    parser.add_argument("--folder", type=Path, default=ROOT, help="where .env goes (default: the project)")
    parser.add_argument("--machine", type=Path, default=Path("/"), help="the root that holds sys, dev and etc")
    return parser.parse_args(arguments)


def caller() -> tuple[int, int]:
    """(uid, gid) for the containers: the caller's, or the one behind sudo; for root itself the image's own user."""
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    if "SUDO_UID" in os.environ and os.environ["SUDO_UID"] != "0":
        return int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
    return IMAGE_USER


def settings(machine: Machine, owner: tuple[int, int]) -> list[Setting]:
    uid, gid = owner
    return [
        Setting("COMPOSE_PROFILES", profiles(machine), "GPU workers beside the CPU ones: rocm, cuda, standin or none"),
        Setting("HOST_UID", str(uid), "the containers run as this user, so that the run folders are yours"),
        Setting("HOST_GID", str(gid), ""),
        Setting("DATA", "./data", "datasets, mounted read-only"),
        Setting("RUNS", "./runs", "one plain folder a job"),
        Setting("STATE", "./.compose", "the queue's data, the secrets and the API keys; for your eyes only"),
        Setting("PORT", "8000", "the API, on 127.0.0.1 alone"),
        Setting("CPU_WORKERS", "1", "jobs that train on the CPU at the same time"),
        *amd_settings(machine),
    ]


def profiles(machine: Machine) -> str:
    rocm = machine.strongest is not None and wheel_for(machine.strongest.gfx) is not None
    return ",".join(name for name, found in (("rocm", rocm), ("cuda", machine.nvidia)) if found)


def amd_settings(machine: Machine) -> list[Setting]:
    """HSA_OVERRIDE_GFX_VERSION is never among them: a card that is made to pass for another can compute wrongly."""
    gpu = machine.strongest
    wheel = wheel_for(gpu.gfx) if gpu else None
    if gpu is None or wheel is None:
        return []
    found = [
        Setting("GFX", gpu.gfx, "the AMD GPU found in /sys/class/kfd"),
        Setting("ROCM_TORCH_INDEX", wheel.index, "where its torch comes from (docs/rocm.md)"),
        Setting("ROCM_TORCH", wheel.requirement, ""),
    ]
    if machine.video_gid is not None:
        found.append(Setting("VIDEO_GID", str(machine.video_gid), "groups that may open /dev/dri and /dev/kfd"))
    if machine.render_gid is not None:
        found.append(Setting("RENDER_GID", str(machine.render_gid), ""))
    if len(machine.amd) > 1:
        found.append(Setting("ROCR_VISIBLE_DEVICES", str(gpu.index), f"the strongest of {names(machine.amd)}"))
    return found


def names(gpus: tuple[AmdGpu, ...]) -> str:
    return ", ".join(f"{gpu.index}: {gpu.gfx}" for gpu in gpus)


def write_env(path: Path, proposed: list[Setting]) -> dict[str, tuple[str, str]]:
    """Adds what is missing. Returns the settings that already had another value: key -> (theirs, ours)."""
    text = path.read_text() if path.exists() else HEADER
    theirs = read_env(text)
    missing = [setting for setting in proposed if setting.key not in theirs]
    if missing:
        lines = [line for setting in missing for line in rendered(setting)]
        path.write_text(text.rstrip("\n") + "\n" + "\n".join(lines) + "\n")
    return {s.key: (theirs[s.key], s.value) for s in proposed if s.key in theirs and theirs[s.key] != s.value}


def read_env(text: str) -> dict[str, str]:
    pairs = (match.groups() for match in map(LINE.match, text.splitlines()) if match)
    return {key: value[1:-1] if re.fullmatch(r"'.*'|\".*\"", value) else value for key, value in pairs}


def rendered(setting: Setting) -> list[str]:
    quoted = setting.value if re.fullmatch(r"[\w./:,-]*", setting.value) else f"'{setting.value}'"
    return [*([f"# {setting.why}"] if setting.why else []), f"{setting.key}={quoted}"]


def prepare(folder: Path, kept: dict[str, tuple[str, str]]) -> None:
    """The folders the containers write to, owned by the user they run as: Docker would make them root's."""
    env = read_env((folder / ".env").read_text())
    owner = int(env["HOST_UID"]), int(env["HOST_GID"])
    runs, data, state = (folder / Path(env[key]).expanduser() for key in ("RUNS", "DATA", "STATE"))
    made = [runs, state / "redis", state / "service"]
    if "DATA" not in kept:  # a mistyped folder of the user's own should fail, not appear empty
        made.append(data)
    for path in made:
        path.mkdir(parents=True, exist_ok=True)
    for path in (state / "redis", state / "service"):
        path.chmod(0o700)
    give([*made, state / "secrets", *make_secrets(state / "secrets")], owner)


def give(paths: list[Path], owner: tuple[int, int]) -> None:
    for path in paths:
        if os.getuid() == 0 and path.stat().st_uid == 0:
            os.chown(path, *owner)


def notes(machine: Machine, kept: dict[str, tuple[str, str]]) -> list[str]:
    said = [f"kept {key}={theirs} (this machine would get {ours or 'nothing'})" for key, (theirs, ours) in kept.items()]
    gpu = machine.strongest
    if gpu and wheel_for(gpu.gfx) is None:
        said.append(f"no torch is known for {gpu.gfx}: CPU workers only; docs/rocm.md says what can be tried")
    elif gpu:
        said.append(f"{gpu.gfx}: nothing was tested on it here; after the start run `eegq doctor --gpu`")
    if machine.nvidia:
        said.append("profile cuda needs the NVIDIA Container Toolkit on this machine")
    if os.getuid() == 0 and caller() == IMAGE_USER:
        said.append("you are root: the containers run as 1000:1000 and own what they write")
    return said


if __name__ == "__main__":
    main()
