"""When torch.compile is worth its half a minute."""

from types import SimpleNamespace
from typing import Any

import pytest

from worker.training.loop import COMPILE_PAYS_S, SETTLED_WINDOWS, Loop


class Supervisor:
    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def tell(self, type: str, next_within_s: float = 0.0, **fields: Any) -> None:
        self.told.append((type, fields))


def loop_of(step_s: float, steps: int, windows: int, why_not: str | None = None, may_compile: bool = True) -> Any:
    """A loop that has run `windows` windows at this pace and has `steps` to go."""
    loop: Any = Loop.__new__(Loop)
    loop.compiled = 0

    def compile(stepper: object) -> str | None:
        loop.compiled += 1
        return why_not

    loop.parts = SimpleNamespace(steps=steps, captured=SimpleNamespace(compile=compile), stepper=None)
    loop.reports, loop.k = Supervisor(), 0
    loop._may_compile, loop._paced, loop._step_s = may_compile, windows, step_s
    return loop


@pytest.mark.parametrize("step_s", [0.0005, 0.0011, 0.02])
def test_a_long_run_compiles_once_its_pace_is_known(step_s: float) -> None:
    loop = loop_of(step_s, int(2 * COMPILE_PAYS_S / step_s), SETTLED_WINDOWS)
    for _ in range(3):
        loop._compile_if_it_pays()
    assert loop.compiled == 1
    assert [fields["phase"] for type, fields in loop.reports.told if type == "phase"] == ["compiling", "training"]


@pytest.mark.parametrize(
    "loop",
    [
        loop_of(0.001, int(COMPILE_PAYS_S / 2 / 0.001), SETTLED_WINDOWS),
        loop_of(0.001, 10**9, SETTLED_WINDOWS - 1),
        loop_of(0.001, 10**9, SETTLED_WINDOWS, may_compile=False),
    ],
    ids=["too short", "pace not known", "compiler not tested"],
)
def test_it_does_not_compile(loop: Any) -> None:
    loop._compile_if_it_pays()
    assert not loop.compiled


def test_what_the_compiler_says_no_to_is_a_warning() -> None:
    loop = loop_of(0.001, 10**9, SETTLED_WINDOWS, why_not="PassManager::run failed")
    loop._compile_if_it_pays()
    assert any(type == "warning" and "PassManager" in fields["message"] for type, fields in loop.reports.told)
