"""The compose file, the three Dockerfiles and what they may see, read as data."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.env import settings
from deploy.machine import AmdGpu, Machine
from deploy.redis_users import ROLES
from jobs.keys import CELERY_PREFIX, PREFIX

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "redis"}
NEEDS_A_GPU = {"worker-gpu-rocm", "worker-gpu-cuda"}
DOCKERFILES = {name: (ROOT / f"Dockerfile.{name}").read_text() for name in ("cpu", "rocm", "cuda")}
A_ROCM_BOX = Machine((AmdGpu(0, "gfx1010", 72), AmdGpu(1, "gfx1036", 4)), False, 44, 109)


@pytest.mark.parametrize("other", ["rocm", "cuda"])
def test_the_dockerfiles_differ_only_in_the_declared_lines(other: str) -> None:
    cpu, theirs = DOCKERFILES["cpu"].splitlines(), DOCKERFILES[other].splitlines()
    declared = {i for i, line in enumerate(cpu) if line.startswith("# own:")}
    may_differ = declared | {i + 1 for i in declared}
    assert len(cpu) == len(theirs)
    different = {i for i, (a, b) in enumerate(zip(cpu, theirs, strict=True)) if a != b}
    assert different
    assert different <= may_differ


@pytest.mark.parametrize("text", DOCKERFILES.values(), ids=DOCKERFILES)
def test_the_images_need_no_frontend_and_no_digest_and_end_as_a_user(text: str) -> None:
    assert "# syntax" not in text
    assert "@sha256" not in text
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    assert users == ["1000:1000"] * 2
    assert re.findall(r"^ARG BASE_IMAGE=(\S+)", text, re.MULTILINE) == ["python:3.11-slim"]


@pytest.mark.parametrize(
    ("service", "name"), [("worker-cpu", "cpu"), ("worker-gpu-rocm", "rocm"), ("worker-gpu-cuda", "cuda")]
)
def test_compose_defaults_to_the_torch_of_the_dockerfile(service: str, name: str) -> None:
    arguments = SERVICES[service]["build"]["args"]
    own = dict(re.findall(r"^ARG (\w+)=(\S+)", DOCKERFILES[name], re.MULTILINE))
    for argument, value in arguments.items():
        assert re.fullmatch(r"\$\{\w+:?-(.*)\}", value)[1] == own[argument]  # type: ignore[index]


def test_only_the_service_is_published_and_on_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["service"]
    assert all(port.startswith("127.0.0.1:") for port in published["service"])
    assert SERVICES["redis"]["networks"] == ["store"]
    assert yaml.safe_load(TEXT)["networks"]["store"]["internal"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_a_mere_user_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].startswith("${HOST_UID:?")
    assert service["restart"] == ("on-failure:5" if name in NEEDS_A_GPU else "unless-stopped")
    assert service["init"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["stop_grace_period"] == "90s"
    assert not service.get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_data_is_read_only_everywhere(name: str) -> None:
    mounts = [volume for volume in SERVICES[name]["volumes"] if isinstance(volume, dict)]
    assert all(mount.get("read_only") for mount in mounts if mount["target"] == "/data" and name != "redis")
    assert all(mount["bind"] == {"create_host_path": False} for mount in mounts)


def test_each_role_sees_its_own_password_alone() -> None:
    for service in OURS.values():
        role = service["environment"]["EEGQ_REDIS_USERNAME"]
        assert role in ROLES
        assert service["secrets"] == [f"redis-{role}"]
        assert service["environment"]["EEGQ_REDIS_PASSWORD_FILE"] == f"/run/secrets/redis-{role}"


def test_a_gpu_is_asked_for_by_profile_only() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert [name for name, profile in profiles.items() if not profile] == [
        "redis", "service", "worker-cpu", "worker-batch", "worker-errand", "reaper"
    ]  # fmt: skip
    rocm = SERVICES["worker-gpu-rocm"]
    assert rocm["profiles"] == ["rocm"]
    assert rocm["devices"] == ["/dev/kfd", "/dev/dri"]
    assert all(re.fullmatch(r"\$\{(VIDEO|RENDER)_GID:-\d+\}", group) for group in rocm["group_add"])
    assert SERVICES["worker-gpu-cuda"]["profiles"] == ["cuda"]


def test_make_env_writes_every_line_that_has_no_default() -> None:
    written = {setting.key for setting in settings(A_ROCM_BOX, (1000, 1000))}
    required = set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert required
    assert required <= written
    used = set(re.findall(r"\$\{(\w+)", TEXT)) | set(re.findall(r"^\s+([A-Z_]+):$", TEXT, re.MULTILINE))
    assert written - {"COMPOSE_PROFILES", "GFX"} <= used


def test_redis_keeps_what_it_acknowledged_and_forgets_nothing() -> None:
    lines = set((ROOT / "deploy/redis.conf").read_text().splitlines())
    assert {"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= lines


def test_the_users_reach_the_projects_keys_alone() -> None:
    users = dict(line.split(" ", 2)[1:] for line in (ROOT / "deploy/users.acl.template").read_text().splitlines())
    assert users["default"] == "off resetpass allkeys allchannels +@all"  # why: deploy/redis_users.py
    for role in ROLES:
        words = users[role].split()
        assert [word for word in words if word[0] in "~%"] == [f"~{PREFIX}*", f"~{CELERY_PREFIX}*"]
        assert "-@dangerous" in words


def test_a_build_sees_named_files_only() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for text in DOCKERFILES.values()
        for sources in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
        for source in sources.split()
    }
    assert {source.split("/")[0] if source.startswith("eegq/") else source for source in copied} == allowed


@pytest.mark.parametrize("extra", ["service", "worker"])
def test_an_image_has_what_kombu_imports_to_ring_a_bell(extra: str) -> None:
    """Without it the API takes jobs and rings nobody."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    assert any(line.startswith("kombu[redis]") for line in wanted)
    for text in DOCKERFILES.values():
        assert text.count("kombu.transport.redis") == 2
