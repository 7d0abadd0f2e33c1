"""Making the environment: where torch comes from, what is pinned, and the step that lets braindecode import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eegq import make_venv
from tests.scripted_http import Answer, scripted


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TORCH", "TORCH_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(make_venv, "VENV", tmp_path)


def test_an_index_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(Answer()) as server:
        monkeypatch.setattr(make_venv, "CPU_INDEX", server.url)
        monkeypatch.setattr(make_venv.shutil, "which", lambda name: None)
        monkeypatch.setattr(sys, "platform", "linux")
        assert make_venv.index_arguments() == ["--extra-index-url", server.url]
    assert server.seen[0].path == "/torch/"


def test_a_default_index_that_does_not_answer_is_left_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_venv, "default_index", lambda: "http://127.0.0.1:9")
    assert make_venv.index_arguments() == []


def test_an_index_that_was_asked_for_and_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_INDEX", "http://127.0.0.1:9")
    with pytest.raises(SystemExit, match="does not answer"):
        make_venv.index_arguments()


def test_an_empty_index_means_pypis_own_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_INDEX", "")
    assert make_venv.index_arguments() == []


def test_beside_an_nvidia_gpu_and_on_a_mac_torch_comes_from_pypi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_venv.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert make_venv.default_index() == ""
    monkeypatch.setattr(make_venv.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert make_venv.default_index() == ""


def test_another_torch_takes_the_place_of_the_pinned_one() -> None:
    pinned = make_venv.write_constraints(None).read_text().splitlines()
    other = make_venv.write_constraints("torch==2.5.1").read_text().splitlines()
    assert "torch==2.13.0" in pinned
    assert [line for line in other if line.startswith(("torch==", "torchaudio=="))] == ["torch==2.5.1"]


def torchaudio_in(folder: Path, complaint: str) -> Path:
    """A torchaudio that does not import while its native library lies there."""
    library = folder / "torchaudio" / "lib" / "_torchaudio.abi3.so"
    library.parent.mkdir(parents=True)
    library.touch()
    (folder / "torchaudio" / "__init__.py").write_text(
        f"import pathlib\nif {complaint}:\n    raise OSError('libc10_cuda.so: cannot open shared object file')\n"
    )
    return library


def mend(folder: Path) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "eegq.mend_torchaudio"], env=env, capture_output=True, text=True, cwd=make_venv.ROOT
    )


def test_a_torchaudio_that_wants_cuda_loses_its_native_library(tmp_path: Path) -> None:
    library = torchaudio_in(tmp_path, "(pathlib.Path(__file__).parent / 'lib' / '_torchaudio.abi3.so').exists()")
    assert "pure Python" in mend(tmp_path).stderr
    assert not library.exists()
    assert "imports as it is" in mend(tmp_path).stderr


def test_a_torchaudio_that_imports_is_left_alone(tmp_path: Path) -> None:
    library = torchaudio_in(tmp_path, "False")
    assert mend(tmp_path).returncode == 0
    assert library.exists()


def test_a_torchaudio_that_cannot_be_mended_says_why(tmp_path: Path) -> None:
    torchaudio_in(tmp_path, "True")
    done = mend(tmp_path)
    assert done.returncode != 0
    assert "libc10_cuda.so" in done.stderr
