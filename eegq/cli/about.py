"""`eegq login` and `eegq doctor`: which service, and whether this machine is fit."""

import sys
from typing import Annotated

import typer

from eegq.cli.app import app, connect, say
from eegq.cli.output import FormatOption, show_rows
from eegq.errors import UsageError


@app.command(rich_help_panel="This machine")
def login(
    url: Annotated[str, typer.Argument(help="e.g. http://gpu-box:8000")],
    name: Annotated[str | None, typer.Option(help="of the profile; default: the host")] = None,
    key: Annotated[str | None, typer.Option(help="API key; asked for, or read from a pipe, where left out")] = None,
) -> None:
    """Store a service and its key as a profile, and make it the default.

    [dim]eegq login http://gpu-box:8000 --name lab
    eegq -p lab ls[/]
    """
    import httpx

    from eegq import profiles
    from eegq.client import Client

    secret = key or _ask_for_key()
    with Client(url, secret) as client:
        client.pools()
    path = profiles.store(name or httpx.URL(url).host, url, secret)
    say(f"stored in {path}")


@app.command(rich_help_panel="This machine")
def key() -> None:
    """Print the API key in use.

    [dim]curl -H "Authorization: Bearer $(eegq key)" http://127.0.0.1:8000/jobs[/]
    """
    address = connect().address
    if address.key is None:
        raise UsageError(f"no key is stored for {address.url}: eegq login {address.url}")
    print(address.key)


@app.command(rich_help_panel="This machine")
def doctor(
    gpu: Annotated[
        bool, typer.Option("--gpu", help="also run the device tests; for an AMD card that fails, find settings")
    ] = False,
    output: FormatOption = None,
) -> None:
    """Check this machine and the service; every finding says what to do. Exit status 1 if something fails.

    [dim]eegq doctor --gpu[/]
    """
    from eegq.doctor import examine

    findings = [finding.to_dict() for finding in examine(gpu)]
    show_rows(findings, {"check": "check", "": "verdict", "detail": "detail", "what to do": "hint"}, output, findings)
    raise SystemExit(1 if any(row["verdict"] == "fails" for row in findings) else 0)


def _ask_for_key() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    return typer.prompt("API key", hide_input=True, err=True).strip()
