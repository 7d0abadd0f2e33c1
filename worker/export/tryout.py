"""Runs a submission as the platform does: `python -I tryout.py FOLDER INPUTS OUTPUTS`, in a process of its own.

Standard library and torch only; modules that the platform may lack or have in another version are hidden from it.
INPUTS: {challenge: (n, 129, 200) float32 volts}; OUTPUTS: {challenge: what came out, and how long it took}.
"""

import runpy
import sys
import time

import torch

HIDDEN = {"eegq", "jobs", "worker", "service", "braindecode", "mne", "einops", "scipy", "sklearn", "pandas", "skorch"}
BATCHES = (1, 7, 64)


class Hide:
    """An import hook in front of all others."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ImportError(f"{name} is not for a submission: it must run with torch alone")


def main(folder, inputs, outputs):
    sys.meta_path.insert(0, Hide())
    submission = runpy.run_path(f"{folder}/submission.py")["Submission"](100, torch.device("cpu"))
    given = torch.load(inputs, map_location="cpu", weights_only=True)
    results = {challenge: tried(submission, challenge, x) for challenge, x in given.items()}
    torch.save({"torch": str(torch.__version__), **results}, outputs)


def tried(submission, challenge, x):
    """shapes and seconds for each size of batch; y for all of x, again with x in microvolts, and one by one."""
    started = time.perf_counter()
    model = getattr(submission, f"get_model_{challenge.replace('challenge', 'challenge_')}")()
    model.eval()
    load_s = time.perf_counter() - started
    with torch.inference_mode():
        batches = [timed(model, x[torch.arange(size) % len(x)]) for size in BATCHES]
        return {
            "load_s": load_s,
            "shapes": [list(y.shape) for y, _ in batches],
            "seconds": [seconds for _, seconds in batches],
            "y": torch.cat([model(part) for part in x.split(64)]),
            "in_microvolts": model(x[:7] * 1e6),
            "alone": torch.cat([model(part) for part in x[:7].split(1)]),
        }


def timed(model, x):
    started = time.perf_counter()
    y = model(x)
    return y, time.perf_counter() - started


if __name__ == "__main__":
    main(*sys.argv[1:])
