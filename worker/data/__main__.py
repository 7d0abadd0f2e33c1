"""`python -m worker.data check` and `gc`: preflight of a dataset, and cleaning the store, in a process of their own.

`check` prints the report as JSON on stdout; where nothing can be checked, it ends with 1 and `{"error", "remedy"}`.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.datasets import Source, scan, select
from jobs.errors import UnknownDataset
from jobs.spec import JobSpec
from worker.data.errors import DataError, StorageUnavailable
from worker.data.eviction import evict
from worker.data.prepare import check

GIB = 2**30


def main() -> int:
    options = _options()
    if options.command == "gc":
        print(json.dumps(asdict(evict(options.cache, int(options.limit_gib * GIB)))))
        return 0
    try:
        report = _check(options)
    except (DataError, UnknownDataset, StorageUnavailable) as error:
        print(json.dumps({"error": str(error), "remedy": getattr(error, "remedy", None)}))
        return 1
    if options.html:
        options.html.write_text(report.to_html())
    print(json.dumps(report.to_dict(), allow_nan=False))
    return 0


def _check(options: argparse.Namespace) -> Any:
    spec, sources = _asked(options)
    return check(
        spec,
        sources,
        options.data,
        options.cache,
        _progress,
        memory_budget_bytes=int(options.memory_gib * GIB),
        steps_dir=options.steps,
        **({"workers": options.workers} if options.workers else {}),
    )


def _asked(options: argparse.Namespace) -> tuple[JobSpec, tuple[Source, ...]]:
    """A job spec from a file, alone or as {"spec", "sources"}, or a task and a dataset; names as the folder has them.

    Sources are there where a dataset was named by a person: those names are not on the disk.
    """
    task = json.loads(options.task) if options.task.startswith("{") else options.task
    asked = json.loads(options.spec.read_text()) if options.spec else {"task": task, "dataset": options.dataset}
    spec = JobSpec.model_validate(asked.get("spec", asked))
    if "sources" in asked:
        return spec, tuple(Source(**source) for source in asked["sources"])
    return spec, select(scan(options.data), spec.dataset)


def _progress(phase: str, detail: dict[str, Any]) -> None:
    print(json.dumps({"phase": phase, **detail}), file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.data", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="every check of every recording, as JSON")
    checking.add_argument("--data", type=Path, required=True)
    checking.add_argument("--cache", type=Path, required=True)
    checking.add_argument("--dataset", default="demo")
    checking.add_argument("--task", default="challenge1", help="a challenge, or window rules as JSON")
    checking.add_argument("--spec", type=Path, help="a job spec, or what the service asked for")
    checking.add_argument("--html", type=Path, help="also write the page")
    checking.add_argument("--steps", type=Path, help="folder of custom preprocessing steps")
    checking.add_argument("--workers", type=int)
    checking.add_argument("--memory-gib", type=float, default=4.0)
    cleaning = commands.add_parser("gc", help="evict what no job uses")
    cleaning.add_argument("--cache", type=Path, required=True)
    cleaning.add_argument("--limit-gib", type=float, default=0.0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
