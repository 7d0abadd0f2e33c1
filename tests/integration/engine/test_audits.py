"""A device that computes wrongly without a word is found out by computing its steps again on the CPU."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from jobs.audit import Finding, Verdict
from tests.integration.engine.conftest import Engine, Supervisor, assert_identical, weights
from worker.training import verdict
from worker.training.checkpoint import read

FLIPPED = {"kind": "bitflip", "step": 1, "where": "optimizer"}


@dataclass
class Auditing(Supervisor):
    """Has each audit judged at once."""

    auditor: object = None
    verdicts: list[Verdict] = field(default_factory=list)
    _agreed: list[bool] = field(default_factory=list)

    def tell(self, type, next_within_s=0.0, **fields):
        super().tell(type, next_within_s, **fields)
        if type == "audit":
            self.verdicts.append(self.auditor(fields))
            self._agreed.append(self.verdicts[-1].finding is Finding.AGREES)

    def orders(self):
        heard, self._agreed = self._agreed, []
        return [{"type": "audited", "agrees": agrees} for agrees in heard]


def audited(engine: Engine, every_s: float = 1e-9, device: str = "standin", **fields) -> tuple[Auditing, dict]:
    supervisor = Auditing(auditor=engine.auditor())
    loop = engine.loop(engine.spec(**fields), device, supervisor, audit_every_s=every_s)
    loop.run()
    loop._obey()  # the answer to what was asked at the very end
    return supervisor, weights(loop)


@pytest.mark.parametrize("where", ["forward", "backward", "optimizer"])
def test_a_flipped_bit_is_found_by_an_audit(engine, where):
    supervisor, _ = audited(engine, drill=[{**FLIPPED, "where": where}])
    found = supervisor.verdicts[0]
    assert (found.finding, found.step) == (Finding.DEVICE_WRONG, 1)
    assert found.error > 1e-4


def test_without_audits_a_flipped_bit_goes_unnoticed_and_changes_the_weights(engine):
    supervisor, flipped = audited(engine, every_s=0.0, drill=[FLIPPED])
    assert supervisor.verdicts == []
    assert supervisor.of("fault") == []
    plain = engine.loop(engine.spec())
    plain.run()
    assert any(not torch.equal(flipped[name], t) for name, t in weights(plain).items())


@pytest.mark.parametrize(("model", "optimizer"), [("SCCNet", "adamw"), ("EEGNeX", "adamax"), ("EEGNet", "sgd")])
def test_a_sound_device_agrees_and_is_not_disturbed(engine, model, optimizer):
    training = {"optimizer": optimizer}
    supervisor, ended = audited(engine, model=model, training=training)
    assert supervisor.verdicts
    assert all((v.finding, v.error) == (Finding.AGREES, 0.0) for v in supervisor.verdicts)
    plain = engine.loop(engine.spec(model=model, training=training))
    plain.run()
    assert_identical(ended, weights(plain))


def test_the_first_three_steps_on_a_device_come_first(engine):
    supervisor, _ = audited(engine, every_s=3600.0, training={"epochs": 3})
    assert [(a["first"], a["steps"]) for a in supervisor.of("audit")] == [(0, 3)]


def test_of_an_audit_that_agreed_the_state_before_its_last_step_stays(engine):
    supervisor, _ = audited(engine, every_s=3600.0)
    folder = Path(supervisor.of("audit")[0]["folder"])
    assert [path.name for path in folder.iterdir()] == ["2"]
    second = engine.loop(engine.spec(), fence=2)
    second.resume(folder / "2")
    assert second.k == 2
    second.run()
    plain = engine.loop(engine.spec(), fence=3)
    plain.run()
    assert_identical(weights(second), weights(plain))


def test_the_cpu_is_not_audited(engine):
    supervisor, _ = audited(engine, device="cpu")
    assert supervisor.of("audit") == []


def test_a_wrong_cpu_is_told_from_a_wrong_device(engine, monkeypatch):
    repeat = verdict.repeat

    def wrong_in_fp32(parts, before, k):
        state = repeat(parts, before, k)
        if next(parts.state.model.parameters()).dtype is torch.float32:
            name = next(name for name in state if name.endswith("exp_avg"))
            state[name] += 1.0
        return state

    monkeypatch.setattr(verdict, "repeat", wrong_in_fp32)
    supervisor, _ = audited(engine, every_s=3600.0)
    assert supervisor.verdicts[0].finding is Finding.CPU_WRONG


def test_audited_states_are_whole_checkpoints(engine):
    supervisor, _ = audited(engine, every_s=3600.0)
    tensors, scalars = read(Path(supervisor.of("audit")[0]["folder"]) / "2")
    assert scalars["step"] == int(tensors["step"]) == 2
