"""`make env`: .env, folders and secrets for a machine that the test makes up out of files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.env import main, read_env, rendered
from deploy.machine import gfx_name, look
from deploy.wheels import AMD_INDEX, PYTORCH_INDEX, wheel_for

ROOT = Path(__file__).parents[2]
NAVI_10, RAPHAEL, POLARIS, NAVI_31 = 100100, 100306, 80003, 110000


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A box without a GPU: one KFD node, the CPU's."""
    root = tmp_path / "machine"
    write(root / "etc/group", "root:x:0:\nvideo:x:44:ada\nrender:x:993:ada\n")
    add_node(root, 0, gfx_target_version=0, simd_count=0, cpu_cores_count=16)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    return path


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def add_node(root: Path, node: int, **properties: int) -> None:
    write(
        root / f"sys/class/kfd/kfd/topology/nodes/{node}/properties",
        "".join(f"{name} {value}\n" for name, value in properties.items()),
    )


def add_amd_gpu(root: Path, node: int, gfx_target_version: int, simd_count: int = 72) -> None:
    write(root / "dev/kfd")
    write(root / f"dev/dri/card{node}")
    write(root / f"dev/dri/renderD{127 + node}")
    add_node(root, node, cpu_cores_count=0, simd_count=simd_count, gfx_target_version=gfx_target_version)


def make_env(folder: Path, machine: Path) -> dict[str, str]:
    main(["--folder", str(folder), "--machine", str(machine)])
    return read_env((folder / ".env").read_text())


def group_of(path: Path, named: int) -> str:
    return str(path.stat().st_gid or named)


def test_a_box_without_a_gpu_gets_cpu_workers_only(folder: Path, machine: Path) -> None:
    env = make_env(folder, machine)
    assert env["COMPOSE_PROFILES"] == ""
    assert "GFX" not in env


def test_an_rx_5600_xt_gets_amds_own_wheels(folder: Path, machine: Path) -> None:
    add_amd_gpu(machine, 1, NAVI_10)
    env = make_env(folder, machine)
    assert (env["COMPOSE_PROFILES"], env["GFX"]) == ("rocm", "gfx1010")
    assert env["ROCM_TORCH_INDEX"] == AMD_INDEX
    assert env["ROCM_TORCH"].startswith("torch[device-gfx1010]")


def test_the_groups_are_those_that_own_the_device_nodes(folder: Path, machine: Path) -> None:
    add_amd_gpu(machine, 1, NAVI_10)
    if os.getuid() == 0:
        os.chown(machine / "dev/kfd", 0, 109)
    env = make_env(folder, machine)
    assert env["RENDER_GID"] == group_of(machine / "dev/kfd", named=993)
    assert env["VIDEO_GID"] == group_of(machine / "dev/dri/card1", named=44)


def test_a_card_in_pytorchs_wheel_takes_that(folder: Path, machine: Path) -> None:
    add_amd_gpu(machine, 1, NAVI_31)
    env = make_env(folder, machine)
    assert (env["ROCM_TORCH_INDEX"], env["ROCM_TORCH"]) == (PYTORCH_INDEX, "torch==2.13.0")


def test_a_card_without_a_wheel_is_said_and_left_alone(
    folder: Path, machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_amd_gpu(machine, 1, POLARIS)
    env = make_env(folder, machine)
    assert env["COMPOSE_PROFILES"] == ""
    assert "no torch is known for gfx803" in capsys.readouterr().err


def test_beside_the_cpus_own_graphics_the_card_is_chosen(folder: Path, machine: Path) -> None:
    add_amd_gpu(machine, 1, RAPHAEL, simd_count=4)
    add_amd_gpu(machine, 2, NAVI_10, simd_count=72)
    env = make_env(folder, machine)
    assert (env["GFX"], env["ROCR_VISIBLE_DEVICES"]) == ("gfx1010", "1")


def test_an_amd_node_without_dev_kfd_is_no_gpu(folder: Path, machine: Path) -> None:
    add_amd_gpu(machine, 1, NAVI_10)
    (machine / "dev/kfd").unlink()
    assert make_env(folder, machine)["COMPOSE_PROFILES"] == ""


def test_an_nvidia_card_turns_the_cuda_profile_on(folder: Path, machine: Path) -> None:
    write(machine / "dev/nvidiactl")
    assert make_env(folder, machine)["COMPOSE_PROFILES"] == "cuda"


@pytest.mark.parametrize("gfx_target_version", [NAVI_10, RAPHAEL, NAVI_31])
def test_no_card_is_made_to_pass_for_another(folder: Path, machine: Path, gfx_target_version: int) -> None:
    add_amd_gpu(machine, 1, gfx_target_version)
    assert "HSA_OVERRIDE_GFX_VERSION" not in make_env(folder, machine)


def test_a_second_run_changes_nothing(folder: Path, machine: Path) -> None:
    add_amd_gpu(machine, 1, NAVI_10)
    make_env(folder, machine)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    make_env(folder, machine)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_users_own_lines_stay_and_missing_ones_are_added(
    folder: Path, machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = "# mine\nPORT=9000   \nexport DATA='/data/my hbn'\nCOMPOSE_PROFILES=\nHSA_OVERRIDE_GFX_VERSION=10.1.0\n"
    (folder / ".env").write_text(mine)
    add_amd_gpu(machine, 1, NAVI_10)
    env = make_env(folder, machine)
    assert (folder / ".env").read_text().startswith(mine)
    assert (env["PORT"], env["DATA"], env["COMPOSE_PROFILES"], env["GFX"]) == ("9000", "/data/my hbn", "", "gfx1010")
    assert "kept COMPOSE_PROFILES= (this machine would get rocm)" in capsys.readouterr().err


def test_a_data_folder_of_the_users_own_is_never_made(folder: Path, machine: Path, tmp_path: Path) -> None:
    (folder / ".env").write_text(f"DATA={tmp_path / 'mistyped'}\n")
    make_env(folder, machine)
    assert not (tmp_path / "mistyped").exists()


def test_secrets_are_for_the_owner_alone_and_not_in_env(folder: Path, machine: Path) -> None:
    make_env(folder, machine)
    secrets = folder / ".compose/secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    files = list(secrets.iterdir())
    assert {path.name for path in files} == {"users.acl", "redis-api", "redis-worker", "redis-reaper"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    passwords = [path.read_text() for path in files if path.name != "users.acl"]
    assert len(set(passwords)) == 3
    assert all(len(password) >= 40 for password in passwords)
    public = (folder / ".env").read_text() + (secrets / "users.acl").read_text()
    assert not any(password in public for password in passwords)


def test_git_ignores_what_it_writes() -> None:
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    assert {".env", ".compose", "runs", "data"} <= ignored


def test_the_folders_belong_to_the_user_the_containers_run_as(folder: Path, machine: Path) -> None:
    env = make_env(folder, machine)
    assert env["HOST_UID"] != "0"
    for name in ("runs", ".compose/redis", ".compose/service", ".compose/secrets", ".compose/secrets/redis-api"):
        status = (folder / name).stat()
        assert (str(status.st_uid), str(status.st_gid)) == (env["HOST_UID"], env["HOST_GID"])


def test_it_runs_on_a_bare_python(folder: Path, machine: Path) -> None:
    command = [sys.executable, "-S", "-E", "-m", "deploy.env", "--folder", str(folder), "--machine", str(machine)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert (folder / ".env").exists()


@pytest.mark.parametrize(
    ("number", "name"), [(100100, "gfx1010"), (90010, "gfx90a"), (110501, "gfx1151"), (80003, "gfx803")]
)  # fmt: skip
def test_the_drivers_number_is_the_compilers_name(number: int, name: str) -> None:
    assert gfx_name(number) == name


def test_no_card_is_in_both_tables() -> None:
    assert wheel_for("gfx1030") != wheel_for("gfx1031")
    assert wheel_for("gfx000") is None


def test_this_machine_can_be_looked_at() -> None:
    look()


def test_a_value_survives_being_written_and_read() -> None:
    from deploy.env import Setting

    for value in ("", "./data", "torch[device-gfx1010]>=2.10,<2.14", "/my data"):
        assert read_env("\n".join(rendered(Setting("KEY", value, "why")))) == {"KEY": value}
