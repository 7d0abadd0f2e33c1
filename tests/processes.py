"""What runs on this machine, read from /proc: descendants of a process, and whether a pid still lives. Linux only."""

from pathlib import Path


def descendants(pid: int) -> set[int]:
    """Every process below `pid`; those that were handed on to init are not found, so ask early and often."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := parent_of(int(entry.name))):
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def parent_of(pid: int) -> int | None:
    fields = stat(pid)
    return int(fields[1]) if fields else None


def alive(pid: int) -> bool:
    """A zombie is dead."""
    fields = stat(pid)
    return fields is not None and fields[0] != "Z"


def stat(pid: int) -> list[str] | None:
    """/proc/PID/stat behind the name: state, parent, …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
