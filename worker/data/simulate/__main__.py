"""`python -m worker.data.simulate FOLDER`: a simulated dataset from a shell."""

import argparse
import sys
from pathlib import Path

from worker.data.simulate import DEMO, simulate
from worker.data.simulate.defects import Defect, plant
from worker.data.simulate.script import CONTRAST_CHANGE, RESTING_STATE


def main() -> None:
    options = _options()
    made = simulate(
        options.folder,
        options.subjects,
        options.seed,
        options.effect,
        release=options.release,
        tasks=options.tasks,
        runs=options.runs,
        trials=options.trials,
        rest_s=options.rest_s,
        sfreq=options.sfreq,
        events_from=options.events_from,
        progress=_show,
    )
    for defect, stem in plant(options.folder, options.defects).items():
        print(f"planted {defect} in {stem}")
    print(f"{made.root}: {made.subjects} subjects, {made.recordings} recordings, {made.bytes / 1e6:.0f} MB")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.data.simulate", description="Simulate an HBN-like dataset.")
    parser.add_argument("folder", type=Path, help="BIDS root to write")
    parser.add_argument(
        "--subjects", type=int, default=None, help=f"default {DEMO['subjects']}, all with --events-from"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effect", type=float, default=1.0, help="strength of the trace; 0 leaves none")
    parser.add_argument("--release", default="R1")
    parser.add_argument("--tasks", nargs="+", default=[CONTRAST_CHANGE, RESTING_STATE])
    parser.add_argument("--runs", type=int, default=DEMO["runs"], help="contrastChangeDetection runs a subject")
    parser.add_argument("--trials", type=int, default=DEMO["trials"], help="trials a run")
    parser.add_argument("--rest-s", type=int, default=DEMO["rest_s"], help="seconds of a passive recording")
    parser.add_argument("--sfreq", type=int, default=100)
    parser.add_argument("--events-from", type=Path, help="BIDS root whose real events and traits are used")
    parser.add_argument("--defects", nargs="+", type=Defect, default=[], help=f"each of {', '.join(Defect)}")
    return parser.parse_args()


def _show(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total} recordings", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
