"""submission.zip: three files, flat, in the official form. Equal parts give equal bytes. Tries nothing out."""

import io
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from worker.export.parts import Part

SUBMISSION = '''class Submission:
    """What the platform makes: Submission(100, device).get_model_challenge_1() and _2()."""

    def __init__(self, SFREQ, DEVICE):
        self.sfreq, self.device = SFREQ, DEVICE

    def get_model_challenge_1(self):
        return load(Challenge1, "weights_challenge_1.pt", self.device)

    def get_model_challenge_2(self):
        return load(Challenge2, "weights_challenge_2.pt", self.device)
'''
LONG_AGO = (1980, 1, 1, 0, 0, 0)


def write_zip(parts: Sequence[Part], path: Path) -> None:
    contents = {"submission.py": source(parts).encode()}
    for part in parts:
        contents[f"weights_{part.challenge.replace('challenge', 'challenge_')}.pt"] = _saved(part.tensors)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), content, zipfile.ZIP_DEFLATED)


def source(parts: Sequence[Part]) -> str:
    """The text of submission.py."""
    kit = files("worker.export").joinpath("kit.py").read_text()
    note = f"# Written by eegq {_version()}; models as torch {torch.__version__.split('+')[0]} computes them."
    return "\n\n".join([f"{note}\n{kit}", *(part.code for part in parts), SUBMISSION])


def _saved(tensors: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def _version() -> str:
    return version("eegq")
