"""A Redis user and a password for each role, as files only the owner can read. Knows no compose file.

The user `default` is off, so that nobody can be it, yet it may do everything: at start Redis replays its append-only
file in that name, and a command it may not run is lost (seen with Redis 7.0.15).
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

ROLES = ("api", "worker", "reaper")
TEMPLATE = Path(__file__).with_name("users.acl.template")


def make_secrets(folder: Path) -> list[Path]:
    """Passwords that are missing, and the ACL file that holds their hashes; what is there already stays.

    To change a password delete its file, run this again and recreate the containers.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    hashes = {role: hashlib.sha256(password(folder, role).encode()).hexdigest() for role in ROLES}
    users = folder / "users.acl"
    write_private(users, TEMPLATE.read_text().format(**hashes))
    return [users, *(password_file(folder, role) for role in ROLES)]


def password(folder: Path, role: str) -> str:
    path = password_file(folder, role)
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text()


def password_file(folder: Path, role: str) -> Path:
    return folder / f"redis-{role}"


def write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
