"""`python -m service`: the API on EEGQ_HOST:EEGQ_PORT. `python -m service add-key NAME` makes another key,
`remove-key NAME` takes one back; neither needs a restart."""

import argparse
import resource
import sys
from pathlib import Path

import uvicorn

from service.app import create_app
from service.auth import Scope, add_key, ensure_keys_file, remove_key
from service.patience import PatientProtocol
from service.settings import Auth, Settings

SHUTDOWN_S = 3  # streams of events never end by themselves


def main() -> None:
    arguments = _arguments()
    settings = Settings()
    made = settings.auth is Auth.ON and ensure_keys_file(settings.keys)
    if arguments.command is not None:
        _change_keys(settings.keys, arguments)
        return
    _say_where(settings, made)
    _as_many_connections_as_allowed()
    uvicorn.run(
        create_app(settings), host=settings.host, port=settings.port, access_log=False, log_level="warning",
        timeout_graceful_shutdown=SHUTDOWN_S, server_header=False, http=PatientProtocol, ws="none",
    )  # fmt: skip


def _change_keys(path: Path, arguments: argparse.Namespace) -> None:
    try:
        if arguments.command == "add-key":
            add_key(path, arguments.name, arguments.owner or arguments.name, arguments.scopes)
        else:
            remove_key(path, arguments.name)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(f"{path.resolve()} is changed", file=sys.stderr)


def _as_many_connections_as_allowed() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _say_where(settings: Settings, made: bool) -> None:
    print(f"eegq listens on http://{settings.host}:{settings.port}", file=sys.stderr)
    if settings.auth is Auth.OFF:
        print("no keys are asked for (EEGQ_AUTH=off)", file=sys.stderr)
    else:
        print(f"its API keys are in {settings.keys.resolve()}{' (made just now)' if made else ''}", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    add = commands.add_parser("add-key", help="make another key")
    add.add_argument("name")
    add.add_argument("--owner", help="whose jobs it submits and may cancel; the name where left out")
    add.add_argument("--scopes", nargs="+", type=Scope, default=[Scope.READ, Scope.SUBMIT], metavar="SCOPE")
    commands.add_parser("remove-key", help="take a key back").add_argument("name")
    return parser.parse_args()


if __name__ == "__main__":
    main()
