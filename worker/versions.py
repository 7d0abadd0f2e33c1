"""Versions of the libraries that a result depends on, without importing one of them."""

from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("torch", "braindecode", "mne", "numpy", "eegq")


def versions() -> dict[str, str]:
    """Name -> version; a library that is not installed (a bare checkout of eegq) is left out."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
