"""Who is calling: named keys with an owner and scopes, and the signed cookie that stands for one in a browser.

Knows the keys file, not HTTP.
"""

import hashlib
import hmac
import json
import os
import secrets
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

COOKIE = "eegq_session"
COOKIE_S = 30 * 24 * 3600


class Scope(StrEnum):
    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    name: str
    owner: str
    scopes: frozenset[Scope]

    def has(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def knows(self, owner: str) -> bool:
        """May read what is nobody else's business: one's own alerts and what signs them."""
        return owner == self.owner or Scope.ADMIN in self.scopes

    def may_change(self, owner: str) -> bool:
        """One's own things; an admin's key changes everybody's."""
        return Scope.ADMIN in self.scopes or (Scope.SUBMIT in self.scopes and owner == self.owner)


ANYONE = Caller("local", "default", frozenset(Scope))


@dataclass(frozen=True)
class Key:
    """`digest` is the SHA-256 of the key; it also signs the cookies that the key gave out."""

    caller: Caller
    digest: bytes


class Keys:
    """The keys of a file, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] = (0, 0)
        self._keys: tuple[Key, ...] = ()

    def of_bearer(self, text: str) -> Caller | None:
        """Every key is compared, in constant time each."""
        digest = _digest(text)
        found = [key.caller for key in self._current() if hmac.compare_digest(key.digest, digest)]
        return found[0] if found else None

    def cookie_for(self, text: str) -> str | None:
        digest = _digest(text)
        expires = str(int(time.time()) + COOKIE_S)
        for key in self._current():
            if hmac.compare_digest(key.digest, digest):
                return f"{key.caller.name}.{expires}.{_signature(key, expires)}"
        return None

    def of_cookie(self, cookie: str) -> Caller | None:
        name, expires, signature = [*cookie.rsplit(".", 2), "", ""][:3]
        for key in self._current():
            if key.caller.name == name and hmac.compare_digest(_signature(key, expires).encode(), signature.encode()):
                return key.caller if int(expires) > time.time() else None
        return None

    def _current(self) -> tuple[Key, ...]:
        stat = self._path.stat()
        if self._stamp != (stat.st_mtime_ns, stat.st_size):
            rows = json.loads(self._path.read_text())["keys"]
            self._keys = tuple(
                Key(Caller(r["name"], r["owner"], frozenset(map(Scope, r["scopes"]))), _digest(r["key"])) for r in rows
            )
            self._stamp = (stat.st_mtime_ns, stat.st_size)
        return self._keys


def ensure_keys_file(path: Path) -> bool:
    """Makes the file with one key of all scopes; whether it was made now. Two first starts at once make one."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _write(path, [new_key("admin", "admin", list(Scope))], replace=False)


def add_key(path: Path, name: str, owner: str, scopes: list[Scope]) -> None:
    """Raises ValueError where the name is taken."""
    rows = json.loads(path.read_text())["keys"]
    if any(row["name"] == name for row in rows):
        raise ValueError(f"there is a key named {name} already")
    _write(path, [*rows, new_key(name, owner, scopes)], replace=True)


def remove_key(path: Path, name: str) -> None:
    """From now on the key opens nothing, nor do the cookies it gave out. Raises ValueError where there is none."""
    rows = json.loads(path.read_text())["keys"]
    if not any(row["name"] == name for row in rows):
        raise ValueError(f"there is no key named {name}")
    _write(path, [row for row in rows if row["name"] != name], replace=True)


def new_key(name: str, owner: str, scopes: list[Scope]) -> dict[str, object]:
    return {"name": name, "owner": owner, "scopes": scopes, "key": f"eegq_{secrets.token_urlsafe(32)}"}


def _write(path: Path, rows: list[dict[str, object]], *, replace: bool) -> bool:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"keys": rows}, file, indent=2)
    if replace:
        os.replace(draft, path)
        return True
    try:
        os.link(draft, path)  # unlike a rename, fails where somebody else was first
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    return True


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _signature(key: Key, expires: str) -> str:
    return hmac.new(key.digest, f"{key.caller.name}.{expires}".encode(), hashlib.sha256).hexdigest()
