"""The run folder: which checkpoints outlive an attempt, and which the job; what everybody may read."""

from dataclasses import replace
from pathlib import Path

from jobs.job import Checkpoint, Claim, Job, JobState
from jobs.spec import JobSpec, Placement
from worker.runfolder import RunFolder

JOB = "job_0123456789abcdef"


def job_at(step: int, runs: Path, *, written: list[int]) -> Job:
    """A running job whose published checkpoint is at `step`, with others beside it on disk."""
    for one in written:
        (runs / JOB / "checkpoints" / "1" / str(one)).mkdir(parents=True)
    return Job(
        JOB, "me", JobSpec(), JobState.RUNNING, Placement.AUTO, fence=1, revision=1, created_at=0, queued_at=0,
        updated_at=0, checkpoint=Checkpoint(step, f"{JOB}/checkpoints/1/{step}", "volume"),
    )  # fmt: skip


def steps_left(runs: Path) -> set[str]:
    return {path.name for path in (runs / JOB / "checkpoints").glob("*/*")}


def test_a_requeued_job_keeps_the_checkpoint_it_resumes_from_although_a_newer_one_was_never_published(
    runs_dir: Path,
) -> None:
    job = job_at(26, runs_dir, written=[26, 27])
    RunFolder(runs_dir, JOB).close(replace(job, state=JobState.QUEUED), [], [])
    assert "26" in steps_left(runs_dir)


def test_of_an_ended_job_only_the_published_checkpoint_stays(runs_dir: Path) -> None:
    job = job_at(26, runs_dir, written=[24, 26, 27])
    RunFolder(runs_dir, JOB).close(replace(job, state=JobState.SUCCEEDED), [], [])
    assert steps_left(runs_dir) == {"26"}


def test_the_address_of_an_alert_is_not_in_the_spec_that_everybody_may_read(runs_dir: Path) -> None:
    spec = JobSpec.model_validate({"alerts": [{"url": "https://a.org/secret"}]})
    RunFolder(runs_dir, JOB).prepare(Claim(replace(job_at(0, runs_dir, written=[]), spec=spec), 1, 1))
    assert "secret" not in (runs_dir / JOB / "spec.json").read_text()
