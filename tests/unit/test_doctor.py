"""eegq doctor on made-up machines: what it finds, and what it writes for an AMD card that needs settings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worker.devices.bootrecord import BootRecords
from worker.devices.doctor import Answer, Finding, Machine, Settings, look, look_at_gpu
from worker.devices.probe import Choice, Rows
from worker.devices.tuning import MANAGED, MIOPEN, OVERRIDE, fastest, merged, tune

NAVI10 = "simd_count 72\ngfx_target_version 100100\ndrm_render_minor 128\n"
RIGHT = [{"test": "matmul", "ok": True, "detail": "fine"}]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(redis_url="redis://127.0.0.1:1/0", runs=tmp_path / "runs", cache=tmp_path / "cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A box with an RX 5600 XT."""
    node = tmp_path / "root/sys/class/kfd/kfd/topology/nodes/1/properties"
    node.parent.mkdir(parents=True)
    node.write_text(NAVI10)
    for name in ("kfd", "dri/renderD128"):
        (tmp_path / "root/dev" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root/dev" / name).touch()
    return tmp_path / "root"


def answers(torch: list[Any], nvidia: str = "") -> Callable[[list[str]], Answer]:
    def run(command: list[str]) -> Answer:
        if command[0] == "nvidia-smi":
            return Answer(0, nvidia, "") if nvidia else Answer(None, "", "not found")
        return Answer(0, json.dumps(torch) if "version.cuda" in command[-1] else "1.8.1", "")

    return run


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def seen(machine: Machine, settings: Settings) -> dict[str, Finding]:
    return by_check(list(look(machine, settings)))


ROCM = ["2.13.0+rocm7.2", None, "7.2", ["gfx900", "gfx1030", "gfx1100"]]
CUDA = ["2.13.0+cu130", "13.0", None, ["sm_75", "sm_80", "sm_90", "compute_90"]]


def test_a_build_without_code_for_the_card_is_found(settings, root):
    finding = seen(Machine(root, run=answers(ROCM)), settings)["gfx1010"]
    assert finding.verdict == "fails"
    assert "no code for gfx1010" in finding.detail
    assert "doctor --gpu" in (finding.hint or "")


def test_a_build_with_code_for_the_card_is_fine(settings, root):
    native = [*ROCM[:3], ["gfx1010"]]
    assert seen(Machine(root, run=answers(native)), settings)["gfx1010"].verdict == "ok"


def test_the_wrong_kind_of_torch_for_the_card_is_a_note(settings, root):
    finding = seen(Machine(root, run=answers(["2.13.0+cpu", None, None, []])), settings)["gfx1010"]
    assert finding.verdict == "note"


def test_an_nvidia_card_is_held_against_the_build(settings, tmp_path):
    run = answers(CUDA, "NVIDIA H200, 9.0\nTesla P40, 6.1\n")
    found = seen(Machine(tmp_path, run=run), settings)
    assert (found["NVIDIA H200"].verdict, found["Tesla P40"].verdict) == ("ok", "fails")


def test_a_torch_that_cannot_be_imported_is_quoted(settings, tmp_path):
    machine = Machine(
        tmp_path, run=lambda command: Answer(1, "", "Traceback\nImportError: libamdhip64.so.7: missing\n")
    )
    found = seen(machine, settings)
    assert (found["torch"].verdict, found["torch"].detail) == ("fails", "ImportError: libamdhip64.so.7: missing")
    assert found["braindecode"].verdict == "fails"


def test_a_device_file_that_is_closed_to_us_names_the_group(settings, root):
    machine = Machine(root, run=answers(ROCM), may_use=lambda path: path.name != "kfd")
    found = seen(machine, settings)
    assert (found["/dev/kfd"].verdict, found["/dev/dri/renderD128"].verdict) == ("fails", "ok")
    assert f"usermod -aG {(root / 'dev/kfd').stat().st_gid}" in (found["/dev/kfd"].hint or "")


def test_a_card_without_its_device_file_is_found(settings, root):
    (root / "dev/kfd").unlink()
    assert seen(Machine(root, run=answers(ROCM)), settings)["/dev/kfd"].verdict == "fails"


def test_a_redis_that_is_away_is_found(settings, tmp_path):
    finding = seen(Machine(tmp_path, run=answers(CUDA)), settings)["redis"]
    assert finding.verdict == "fails"


def test_a_real_redis_answers(redis_url, tmp_path):
    settings = Settings(redis_url=redis_url, runs=tmp_path, cache=tmp_path)
    assert seen(Machine(tmp_path, run=answers(CUDA)), settings)["redis"].verdict == "ok"


def test_a_password_that_redis_does_not_want_is_not_shown(redis_url, tmp_path):
    (tmp_path / "password").write_text("hush hush\n")
    settings = Settings(
        redis_url=redis_url,
        redis_username="worker",
        redis_password_file=tmp_path / "password",
        runs=tmp_path,
        cache=tmp_path,
    )
    finding = seen(Machine(tmp_path, run=answers(CUDA)), settings)["redis"]
    assert finding.verdict == "fails"
    assert "hush" not in finding.detail


def test_the_workers_own_variables_say_where_things_are():
    env = {"EEGQ_REDIS_URL": "redis://redis:6379/0", "EEGQ_CACHE": "/cache", "EEGQ_RUNS": "", "EEGQ_DEVICE": "cuda:1"}
    settings = Settings.from_environment(env)
    assert (settings.redis_url, settings.cache, settings.runs) == ("redis://redis:6379/0", Path("/cache"), Path("runs"))


# --- settings for an AMD card ----------------------------------------------------------------------------------------


def card(works: Callable[[dict[str, str]], str | None], ms: Callable[[dict[str, str]], float] = lambda s: 10.0):
    """A runner: `works` says under which settings the tests fail, by the failing test's name."""
    tried: list[dict[str, str]] = []

    def run(settings: dict[str, str]) -> Rows:
        tried.append(settings)
        failing = works(settings)
        if failing:
            return [{"test": failing, "ok": False, "detail": "relative error 1.1"}]
        return [*RIGHT, {"measure": "convolution_ms", "value": ms(settings)}]

    return run, tried


def trials(gfx: str, run: Any, folder: Path) -> list:
    return list(tune(gfx, "cuda:0", run, BootRecords(folder, "this boot")))


def test_a_card_that_works_needs_no_setting(tmp_path):
    run, tried = card(lambda s: None)
    assert fastest(trials("gfx1010", run, tmp_path)).settings == {}
    assert tried == [{}]


def test_the_fastest_of_the_right_overrides_is_taken(tmp_path):
    run, _ = card(lambda s: None if OVERRIDE in s else "enumerate", lambda s: 5.0 if s[OVERRIDE] == "10.3.0" else 9.0)
    assert fastest(trials("gfx1010", run, tmp_path)).settings[OVERRIDE] == "10.3.0"


def test_an_override_that_is_fast_and_wrong_is_not_taken(tmp_path):
    run, _ = card(lambda s: None if s.get(OVERRIDE) == "10.1.0" else "matmul", lambda s: 9.0)
    assert fastest(trials("gfx1010", run, tmp_path)).settings[OVERRIDE] == "10.1.0"


def test_miopens_kernels_are_left_out_where_only_convolutions_fail(tmp_path):
    run, tried = card(lambda s: None if s.get("MIOPEN_DEBUG_CONV_WINOGRAD") == "0" else "convolution")
    best = fastest(trials("gfx1010", run, tmp_path))
    assert best.settings == {"MIOPEN_DEBUG_CONV_WINOGRAD": "0"}
    assert tried[:3] == [{}, MIOPEN[0], MIOPEN[1]]


def test_nothing_is_taken_where_nothing_is_right(tmp_path):
    run, tried = card(lambda s: "matmul")
    assert fastest(trials("gfx1010", run, tmp_path)) is None
    assert tried == [{}, {OVERRIDE: "10.1.0"}, {OVERRIDE: "10.3.0"}]


def test_a_trial_that_took_the_machine_down_is_not_repeated(tmp_path):
    class PowerCut(BaseException):
        pass

    def run(settings: dict[str, str]) -> Rows:
        if settings.get(OVERRIDE) == "10.3.0":
            raise PowerCut
        return [{"test": "enumerate", "ok": False, "detail": "no"}]

    class Unplugged(BootRecords):
        def end(self, guard: Any) -> None:
            """As when the machine goes down: the record of the last trial stays."""
            if guard is not None and "10.3.0" not in guard.path.read_text():
                super().end(guard)

    with pytest.raises(PowerCut):
        list(tune("gfx1010", "cuda:0", run, Unplugged(tmp_path, "first boot")))
    calm, tried = card(lambda s: "matmul")
    again = list(tune("gfx1010", "cuda:0", calm, BootRecords(tmp_path, "second boot")))
    assert {OVERRIDE: "10.3.0"} not in tried
    assert "the machine went down" in (again[-1].failure or "")


def test_the_env_file_keeps_every_other_line():
    text = "# mine\nPORT=8000\nHSA_OVERRIDE_GFX_VERSION=10.3.0\nMIOPEN_FIND_MODE=2\n\nDATA='/data/my set'\n"
    assert merged(text, {OVERRIDE: "10.1.0", "MIOPEN_DEBUG_CONV_DIRECT": "0"}) == (
        "# mine\nPORT=8000\nHSA_OVERRIDE_GFX_VERSION=10.1.0\n# MIOPEN_FIND_MODE=2   # taken out by eegq doctor --gpu"
        "\n\nDATA='/data/my set'\n# found by eegq doctor --gpu\nMIOPEN_DEBUG_CONV_DIRECT=0\n"
    )


def test_writing_the_same_settings_twice_changes_nothing():
    once = merged("PORT=8000\n", {OVERRIDE: "10.1.0"})
    assert merged(once, {OVERRIDE: "10.1.0"}) == once


def amd_machine(root: Path, run: Any, env: dict[str, str]) -> Machine:
    def examine(device: str, level: str, env: dict[str, str] | None = None) -> Rows:
        if env is None:
            return RIGHT
        return run({name: value for name, value in env.items() if name in MANAGED})

    none = Choice(None, "cuda:0: enumerate: HIP error: invalid device function", "rocm", "RX 5600 XT")
    return Machine(root, run=answers(ROCM), choose=lambda *a, **k: none, examine=examine, env=env)


def test_the_doctor_writes_what_it_found_and_says_so(settings, root, tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_text("PORT=8000\n")
    run, _ = card(lambda s: None if s.get(OVERRIDE) == "10.1.0" else "enumerate")
    findings = list(look_at_gpu(amd_machine(root, run, {"PATH": "/bin", OVERRIDE: "9.9.9"}), settings, env_file))
    assert "HSA_OVERRIDE_GFX_VERSION=10.1.0" in env_file.read_text().splitlines()
    assert (findings[-1].check, findings[-1].verdict) == ("settings", "ok")
    assert OVERRIDE in findings[-1].detail


def test_a_trial_without_settings_does_not_inherit_the_shells(settings, root, tmp_path):
    run, tried = card(lambda s: "enumerate")
    list(look_at_gpu(amd_machine(root, run, {OVERRIDE: "9.9.9"}), settings, tmp_path / ".env"))
    assert tried[0] == {}


def test_without_an_env_file_the_lines_are_only_said(settings, root, tmp_path):
    run, _ = card(lambda s: None if s.get(OVERRIDE) == "10.1.0" else "enumerate")
    findings = list(look_at_gpu(amd_machine(root, run, {}), settings, tmp_path / ".env"))
    assert not (tmp_path / ".env").exists()
    assert "HSA_OVERRIDE_GFX_VERSION=10.1.0" in (findings[-1].hint or "")


def test_a_card_that_took_the_machine_down_is_left_alone(settings, root, tmp_path):
    BootRecords(settings.cache / "boot", "an earlier boot").begin("cuda:0", "job job_a")
    run, tried = card(lambda s: None)
    findings = list(look_at_gpu(amd_machine(root, run, {}), settings, tmp_path / ".env"))
    assert tried == []
    assert "the machine went down during job job_a" in findings[-1].detail


def test_a_working_gpu_has_its_tests_listed(settings, tmp_path):
    rows: Rows = [*RIGHT, {"capability": "bf16", "ok": False, "detail": "relative error 1.1"}]
    good = Choice("cuda:0", "its quick tests passed", "cuda", "NVIDIA H200")
    machine = Machine(tmp_path, run=answers(CUDA), choose=lambda *a, **k: good, examine=lambda *a: rows)
    found = by_check(list(look_at_gpu(machine, settings, tmp_path / ".env")))
    assert (found["cuda:0 matmul"].verdict, found["cuda:0 bf16"].verdict) == ("ok", "note")
    assert found["cpu matmul"].verdict == "ok"
