"""The command group itself: options of all commands, and how errors become text and an exit status.

Exit status: 0 done, 1 the job failed, 2 usage, 3 cancelled, 4 not done in time, 5 the service said no or is away,
130 Ctrl-C.
"""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from eegq.errors import EegqError, JobCancelled, JobFailed, UsageError, WaitTimeout

EXIT_STATUS: dict[type[EegqError], int] = {JobFailed: 1, UsageError: 2, JobCancelled: 3, WaitTimeout: 4}
OTHER_EXIT_STATUS = 5
CTRL_C = 130
IMPATIENT_S = 2.0  # for a service that was there to start with, waiting commands have more patience
PATIENT_S = 300.0


class Group(TyperGroup):
    """Turns what commands raise into a line on stderr and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EegqError as error:
            say(f"error: {error}")
            raise SystemExit(EXIT_STATUS.get(type(error), OTHER_EXIT_STATUS)) from error
        except KeyboardInterrupt:
            raise SystemExit(CTRL_C) from None
        except BrokenPipeError:
            # `eegq ls | head`: nobody reads any more, and Python's own flush at its end must not complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None


chosen: dict[str, str | None] = {}
app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from eegq import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def everything(
    profile: Annotated[str | None, typer.Option("--profile", "-p", help="a service stored by `eegq login`")] = None,
    url: Annotated[str | None, typer.Option(help="address of the service")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it")] = False,
) -> None:
    """Train EEG models on a queue that survives flaky GPUs.

    stdout is data (JSON when piped), stderr is talk.
    Exit status of waiting: 0 succeeded, 1 failed, 2 usage, 3 cancelled, 4 timeout, 5 service trouble.
    """
    chosen.update(profile=profile, url=url)


def connect() -> Any:
    """The client of the options given to this command."""
    from eegq.client import Client

    return Client(**chosen, retry_for_s=IMPATIENT_S)


def say(text: str) -> None:
    """Talk: for the person, not for the pipe."""
    print(text, file=sys.stderr, flush=True)
