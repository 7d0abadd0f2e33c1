"""The `eegq` command: `app` with its commands. What a command needs is imported when it runs: --help stays quick."""

from eegq.cli.app import app

from eegq.cli import submit, look, work, data, local, about  # noqa: F401  # isort: skip  (the order of the help)

__all__ = ["app"]
