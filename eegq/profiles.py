"""Which service to talk to: arguments, environment, the `eegq up` of this folder, or what `eegq login` stored.

Knows no HTTP. Keys lie in ~/.config/eegq/config.toml, readable by this user alone.
"""

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from eegq.errors import UsageError

DEFAULT_URL = "http://127.0.0.1:8000"
UP_STATE = Path(".eegq/up.json")


@dataclass(frozen=True)
class Address:
    """`source` says where it was found, for messages."""

    url: str
    key: str | None
    source: str


@dataclass(frozen=True)
class Profiles:
    default: str | None
    addresses: dict[str, Address]


def resolve(url: str | None = None, key: str | None = None, profile: str | None = None) -> Address:
    """The first that is given: url; profile; EEGQ_URL; EEGQ_PROFILE; `eegq up` in this folder; the default profile.

    A key of its own (argument or EEGQ_API_KEY) goes before a stored one. Raises UsageError for an unknown profile.
    """
    found = _address(url, profile)
    return Address(found.url.rstrip("/"), key or os.environ.get("EEGQ_API_KEY") or found.key, found.source)


def load() -> Profiles:
    try:
        data = tomllib.loads(config_path().read_text())
    except FileNotFoundError:
        return Profiles(None, {})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{config_path()} is not valid TOML: {error}") from error
    found = {
        name: Address(row["url"], row.get("key"), f"profile {name}") for name, row in data.get("profiles", {}).items()
    }
    return Profiles(data.get("default"), found)


def store(name: str, url: str, key: str | None) -> Path:
    """Adds or replaces a profile and makes it the default one."""
    profiles = {**load().addresses, name: Address(url.rstrip("/"), key, "")}
    lines = [f"default = {json.dumps(name)}"]
    for label, address in sorted(profiles.items()):
        lines += ["", f"[profiles.{json.dumps(label)}]", f"url = {json.dumps(address.url)}"]
        lines += [f"key = {json.dumps(address.key)}"] if address.key else []
    return _write_private(config_path(), "\n".join(lines) + "\n")


def config_path() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "eegq" / "config.toml"


def _address(url: str | None, profile: str | None) -> Address:
    if url:
        return _with_stored_key(url, "argument")
    if profile:
        return _named(profile)
    if from_env := os.environ.get("EEGQ_URL"):
        return _with_stored_key(from_env, "EEGQ_URL")
    if from_env := os.environ.get("EEGQ_PROFILE"):
        return _named(from_env)
    if here := _up_here():
        return here
    if default := load().default:
        return _named(default)
    return Address(DEFAULT_URL, None, "default")


def _named(name: str) -> Address:
    known = load().addresses
    if name not in known:
        raise UsageError(f"no profile {name}; known: {', '.join(sorted(known)) or 'none (eegq login URL)'}")
    return known[name]


def _with_stored_key(url: str, source: str) -> Address:
    """A stored key is only ever sent to the very address it was stored for."""
    for address in (*load().addresses.values(), *filter(None, [_up_here()])):
        if address.url == url.rstrip("/"):
            return Address(url, address.key, source)
    return Address(url, None, source)


def _up_here() -> Address | None:
    try:
        state = json.loads(UP_STATE.read_text())
        os.kill(state["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return Address(state["url"], state["key"], "eegq up in this folder")


def _write_private(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(draft, path)
    return path
