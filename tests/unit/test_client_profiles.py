"""Which service a client talks to, and whose key it sends there."""

import json
import os
from pathlib import Path

import pytest

from eegq import profiles
from eegq.errors import UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty configuration folder and working folder, and no settings."""
    for name in ("EEGQ_URL", "EEGQ_API_KEY", "EEGQ_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def up_here(url: str = "http://127.0.0.1:8123", pid: int | None = None) -> None:
    Path(".eegq").mkdir()
    Path(".eegq/up.json").write_text(json.dumps({"url": url, "key": "up_key", "pid": pid or os.getpid()}))


def test_without_anything_it_is_the_default_port_here_without_a_key() -> None:
    assert profiles.resolve() == profiles.Address("http://127.0.0.1:8000", None, "default")


def test_the_last_login_is_the_default() -> None:
    profiles.store("lab", "https://lab:8000/", "lab_key")
    profiles.store("box", "https://box", "box_key")
    assert profiles.resolve().url == "https://box"
    assert (profiles.resolve(profile="lab").url, profiles.resolve(profile="lab").key) == ("https://lab:8000", "lab_key")


def test_keys_are_stored_for_this_user_alone() -> None:
    path = profiles.store("lab", "https://lab", 'k"\\ey')
    assert path.stat().st_mode & 0o777 == 0o600
    assert profiles.resolve().key == 'k"\\ey'


def test_the_service_started_in_this_folder_comes_before_the_default_profile() -> None:
    profiles.store("lab", "https://lab", "lab_key")
    up_here()
    assert profiles.resolve().key == "up_key"


def test_a_service_that_has_gone_does_not_count() -> None:
    up_here(pid=2**22 - 1)
    assert profiles.resolve().source == "default"


def test_the_environment_comes_before_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    up_here()
    monkeypatch.setenv("EEGQ_URL", "https://elsewhere")
    monkeypatch.setenv("EEGQ_API_KEY", "env_key")
    assert profiles.resolve() == profiles.Address("https://elsewhere", "env_key", "EEGQ_URL")


def test_a_stored_key_is_sent_to_no_other_address() -> None:
    profiles.store("lab", "https://lab", "lab_key")
    up_here()
    assert profiles.resolve("https://evil").key is None
    assert profiles.resolve("https://lab/").key == "lab_key"


def test_an_unknown_profile_is_refused_and_the_known_ones_are_named() -> None:
    profiles.store("lab", "https://lab", None)
    with pytest.raises(UsageError, match="known: lab"):
        profiles.resolve(profile="box")


def test_a_broken_file_is_named() -> None:
    path = profiles.store("lab", "https://lab", None)
    path.write_text("default = ")
    with pytest.raises(UsageError, match=r"config\.toml"):
        profiles.resolve()
