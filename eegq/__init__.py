"""eegq from Python: `from eegq import Client`. Speaks HTTP only; installs and imports without torch."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "EegqError", "Job", "__version__"]

if TYPE_CHECKING:
    from eegq.aio import AsyncClient
    from eegq.client import Client
    from eegq.errors import EegqError
    from eegq.resources import Job

HOME = {"AsyncClient": "aio", "Client": "client", "EegqError": "errors", "Job": "resources"}


def __getattr__(name: str) -> Any:
    """Imports what is asked for, when it is: `eegq --help` needs none of it."""
    if name not in HOME:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"eegq.{HOME[name]}"), name)
