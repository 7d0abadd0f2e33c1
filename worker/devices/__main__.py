"""The device tests as a process: `python -m worker.devices --device cuda:0 --level quick`, one JSON line each.

`--probe auto` names the first accelerator that computes rightly; `--list` names those that torch has heard of.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from worker.devices.bootrecord import BootRecords
from worker.devices.probe import choose
from worker.devices.shapes import Shapes
from worker.training.orphan import die_with_parent


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.parent:
        die_with_parent(args.parent)
    if args.probe:
        records = BootRecords(args.cache / "boot")
        choice = choose(args.probe, shapes_of(args), records, args.cache / "device-tests.json")
        say(choice.to_dict())
        return 0 if choice.device else 1
    if args.list:
        from worker.devices.listing import accelerators, why_none

        say({"devices": accelerators(), "why_none": why_none()})
        return 0
    from worker.devices.suite import run

    return 0 if run(args.device, args.level, shapes_of(args), say) else 1


def shapes_of(args: argparse.Namespace) -> Shapes:
    """Those given, else those of the spec (a bare one, or a run's spec.json), else the default."""
    if args.shapes:
        return Shapes.from_json(args.shapes)
    if args.spec:
        from jobs.spec import JobSpec

        document = json.loads(args.spec.read_text())
        return Shapes.from_spec(JobSpec.model_validate(document.get("spec", document)))
    return Shapes()


def say(row: dict[str, Any]) -> None:
    """Flushed at once: the process may not live to the next line."""
    print(json.dumps(row), flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.devices", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--device", help="cpu, cuda:N, mps or standin")
    what.add_argument("--probe", nargs="?", const="auto", metavar="WANTED", help="auto, or one device's name")
    what.add_argument("--list", action="store_true")
    parser.add_argument("--level", choices=("quick", "full"), default="quick")
    parser.add_argument("--shapes", help='JSON: {"batch": 128, "n_chans": 129, "n_times": 200}')
    parser.add_argument("--spec", type=Path, help="a job spec, or the spec.json of a run")
    cache = Path(os.environ.get("EEGQ_CACHE", "cache"))
    parser.add_argument("--cache", type=Path, default=cache, help="where the probe keeps its records (EEGQ_CACHE)")
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
