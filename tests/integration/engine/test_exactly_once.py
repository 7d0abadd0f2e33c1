"""Whatever happens to a step, the state after it is that of an undisturbed run, bit for bit on one kind of device."""

import pytest
import torch

from tests.integration.engine.conftest import Engine, Supervisor, assert_identical, weights
from worker.training.errors import DeviceFault, Interrupted, JobFault

STEPS = 6  # 3 an epoch


def undisturbed(engine: Engine, **fields) -> dict[str, torch.Tensor]:
    loop = engine.loop(engine.spec(**fields))
    loop.run()
    assert loop.k == STEPS
    return weights(loop)


@pytest.mark.parametrize("optimizer", ["adamw", "adamax", "sgd"])
@pytest.mark.parametrize("order_at", [1, 2, 3])
def test_a_run_that_was_drained_goes_on_as_if_it_had_not_been(engine, optimizer, order_at):
    training = {"optimizer": optimizer, "lr": 1e-3}
    spec = engine.spec(training=training)
    supervisor = Supervisor(orders_at={order_at: "drain"})
    first = engine.loop(spec, supervisor=supervisor)
    first._window = 1
    with pytest.raises(Interrupted):
        first.run()
    assert 0 < first.k < STEPS
    second = engine.loop(spec, fence=2)
    from pathlib import Path

    second.resume(Path(supervisor.of("checkpoint")[-1]["path"]))
    second.run()
    assert_identical(weights(second), undisturbed(engine, training=training))


@pytest.mark.parametrize("model", ["SCCNet", "EEGNet", "ShallowFBCSPNet"])
@pytest.mark.parametrize(
    "drill",
    [
        {"kind": "oom", "where": "forward"},
        {"kind": "oom", "where": "backward", "times": 2},
        {"kind": "oom", "where": "optimizer", "times": 2},
        {"kind": "nan", "where": "optimizer", "times": 2},
    ],
    ids=lambda d: f"{d['kind']}-{d['where']}",
)
def test_a_batch_that_fails_leaves_no_trace(engine, model, drill):
    spec = engine.spec(model=model, drill=[{**drill, "step": 4}])
    loop = engine.loop(spec, "standin", Supervisor(engine.lane()))
    loop.run()
    assert_identical(weights(loop), undisturbed(engine, model=model))


@pytest.mark.parametrize("optimizer", ["adamax", "sgd"])
def test_a_batch_that_fails_leaves_no_trace_in_other_optimizers(engine, optimizer):
    training = {"optimizer": optimizer}
    drills = [{"kind": k, "where": "optimizer", "step": s, "times": 2} for k, s in (("oom", 2), ("nan", 4))]
    loop = engine.loop(engine.spec(training=training, drill=drills), "standin", Supervisor(engine.lane()))
    loop.run()
    assert_identical(weights(loop), undisturbed(engine, training=training))


def test_a_moved_batch_is_told_with_its_reason(engine):
    spec = engine.spec(drill=[{"kind": "oom", "step": 2, "times": 2}])
    supervisor = Supervisor(engine.lane())
    engine.loop(spec, "standin", supervisor).run()
    rows = [(c["first"], c["last"], c["device"], c["reason"]) for c in supervisor.of("commit")]
    assert (2, 2, "cpu", "out_of_memory") in rows
    covered = [k for first, last, _, _ in rows for k in range(first, last + 1)]
    assert covered == list(range(STEPS))


def test_without_an_answer_the_trainer_runs_the_batch_itself(engine):
    loop = engine.loop(engine.spec(drill=[{"kind": "oom", "step": 2, "times": 2}]), "standin", Supervisor())
    loop.run()
    assert_identical(weights(loop), undisturbed(engine))


def test_a_single_failure_is_retried_in_place_and_not_moved(engine):
    supervisor = Supervisor()
    engine.loop(engine.spec(drill=[{"kind": "oom", "step": 2}]), "standin", supervisor).run()
    assert supervisor.of("ticket") == []


def test_a_retry_that_is_not_finite_moves_as_well(engine):
    drills = [{"kind": "oom", "step": 4}, {"kind": "nan", "step": 4, "where": "optimizer"}]
    supervisor = Supervisor(engine.lane())
    loop = engine.loop(engine.spec(drill=drills), "standin", supervisor)
    loop.run()
    assert [f["fault"]["kind"] for f in supervisor.of("fault")] == ["out_of_memory"]
    assert_identical(weights(loop), undisturbed(engine))


def test_a_sticky_error_ends_the_attempt_and_the_job_goes_on_elsewhere(engine):
    spec = engine.spec(drill=[{"kind": "sticky", "step": 4}])
    supervisor = Supervisor()
    first = engine.loop(spec, "standin", supervisor)
    with pytest.raises(DeviceFault):
        first.run()
    second = engine.loop(spec, fence=2)
    first._flush()
    from pathlib import Path

    second.resume(Path(supervisor.of("checkpoint")[-1]["path"]))
    second.run()
    assert_identical(weights(second), undisturbed(engine))


def test_a_batch_that_never_fits_is_said_so_after_the_second_and_moves_the_job(engine):
    drills = [{"kind": "oom", "step": k, "times": 2} for k in (0, 1, 2, 3)]
    supervisor = Supervisor(engine.lane())
    with pytest.raises(DeviceFault) as raised:
        engine.loop(engine.spec(drill=drills), "standin", supervisor).run()
    assert raised.value.fault.kind == "too_large"
    assert "training.batch_size" in raised.value.fault.hint
    assert [ticket["step"] for ticket in supervisor.of("ticket")] == [0]


def test_failover_never_moves_no_batch(engine):
    spec = engine.spec(failover="never", drill=[{"kind": "oom", "step": 2, "times": 2}])
    with pytest.raises(DeviceFault):
        engine.loop(spec, "standin", Supervisor(engine.lane())).run()


def test_a_run_that_diverges_on_the_cpu_fails_with_the_step(engine):
    loop = engine.loop(engine.spec(training={"lr": 10.0, "optimizer": "sgd", "momentum": 0.99, "epochs": 20}))
    with pytest.raises(JobFault) as raised:
        loop.run()
    assert raised.value.fault.kind == "diverged"
    assert raised.value.fault.step is not None


def test_random_crops_follow_from_the_step(engine):
    fields = {"task": "challenge2"}
    spec = engine.spec(**fields, drill=[{"kind": "oom", "step": 4, "times": 2}])
    loop = engine.loop(spec, "standin", Supervisor(engine.lane()))
    loop.run()
    plain = engine.loop(engine.spec(**fields))
    plain.run()
    assert loop.parts.data.train.max_shift > 0
    assert_identical(weights(loop), weights(plain))


def test_a_finite_flag_that_is_read_late_still_undoes_nothing_but_the_bad_step(engine):
    """The window is longer than the distance to the bad step: the steps after it were no-ops."""
    spec = engine.spec(drill=[{"kind": "nan", "where": "optimizer", "step": 4}])
    loop = engine.loop(spec, "standin", Supervisor(engine.lane()))
    loop._window = 100
    loop.run()
    assert_identical(weights(loop), undisturbed(engine))


def test_a_deterministic_run_tells_the_same_digests_each_time_and_another_run_others(engine):
    def told(seed: int, deterministic: bool = True) -> list[str]:
        supervisor = Supervisor()
        spec = engine.spec(seed=seed, training={"deterministic": deterministic})
        engine.loop(spec, supervisor=supervisor).run()
        return [c["digest"] for c in supervisor.of("commit") if c["digest"]]

    first = told(0)
    assert len(first) == 2  # epochs
    assert told(0) == first
    assert not set(told(1)) & set(first)
    assert told(0, deterministic=False) == []
