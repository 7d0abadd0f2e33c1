"""`python -m worker.export --challenge1 RUN --challenge2 RUN --out submission.zip`: a submission from runs' folders.

Tells what it checked; status 1 and one line where there is nothing to hand out.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from worker.export.errors import ExportError
from worker.export.standin import Challenge
from worker.export.submission import Folders, build_submission


def main() -> int:
    args = _parse()
    named: dict[Challenge, Path | None] = {"challenge1": args.challenge1, "challenge2": args.challenge2}
    runs = {challenge: folder for challenge, folder in named.items() if folder is not None}
    try:
        report = build_submission(runs, args.out, Folders(args.data, args.cache), args.python)
    except ExportError as error:
        print(json.dumps({"error": str(error)}) if args.json else error)
        return 1
    if args.json:
        print(json.dumps(report))
    else:
        _show(report, args.out)
    return 0


def _show(report: dict[str, Any], out: Path) -> None:
    for check in report["checks"]:
        mark = {True: "ok", False: "FAILED", None: "--"}[check["ok"]]
        print(f"{mark:>6}  {check['check']}: {check['detail']}")
    for warning in report["warnings"]:
        print(f"        {warning}")
    print(f"{out}: {report['bytes']} bytes, tried out with torch {report['tried_with']['torch']}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.export", description=__doc__)
    parser.add_argument("--challenge1", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--challenge2", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--out", type=Path, default=Path("submission.zip"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="to compare with the run's own predictions")
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--json", action="store_true", help="print the report as one line of JSON")
    parser.add_argument(
        "--python", default=sys.executable, help="the Python to try it out with, e.g. one with torch 2.2"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
