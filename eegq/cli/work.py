"""`eegq cancel`, `pause`, `resume`, `stop`, `gc`, `pull`, `reproduce`: acting on jobs, fetching results."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from eegq.cli.app import app, connect, say
from eegq.cli.output import Format, default_format, duration, print_json, print_table
from eegq.cli.submit import JobId, detach

SomeJobs = Annotated[list[str] | None, typer.Argument(metavar="JOB...", help="job ids")]
All = Annotated[bool, typer.Option("--all", help="every one that is not done")]
ACTIVE = ("running", "queued")


@app.command(rich_help_panel="Jobs")
def cancel(jobs: SomeJobs = None, all_: All = False) -> None:
    """Cancel jobs: queued ones at once, running ones within seconds.

    [dim]eegq cancel job_…
    eegq cancel --all[/]
    """
    _each("cancel", jobs, all_)


@app.command(rich_help_panel="Jobs")
def pause(jobs: SomeJobs = None, all_: All = False) -> None:
    """Checkpoint jobs and hold them until `eegq resume`.

    [dim]eegq pause job_…[/]
    """
    _each("pause", jobs, all_)


@app.command(rich_help_panel="Jobs")
def resume(jobs: SomeJobs = None, all_: All = False) -> None:
    """Let paused jobs go on.

    [dim]eegq resume --all[/]
    """
    _each("resume", jobs, all_)


@app.command(rich_help_panel="Jobs")
def stop() -> None:
    """Checkpoint and hold everything, e.g. before the machine goes down; `eegq resume --all` goes on.

    [dim]eegq stop[/]
    """
    _each("pause", None, True)


@app.command(rich_help_panel="Jobs")
def gc(
    older: Annotated[float, typer.Option(help="days since the end")] = 30.0,
    status: Annotated[str, typer.Option(help="succeeded, failed, cancelled, comma-separated")] = "failed,cancelled",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="delete; without it they are only listed")] = False,
) -> None:
    """Delete ended jobs with their files.

    [dim]eegq gc --older 7 --status failed,cancelled --yes[/]
    """
    client, limit = connect(), datetime.now(UTC) - timedelta(days=older)
    ended = [job for one in status.split(",") for job in client.jobs.list(None, status=one.strip())]
    old = [job for job in ended if job.finished_at and job.finished_at < limit]
    for job in old if yes else []:
        client.jobs.delete(job.id)
    say(f"{len(old)} jobs {'deleted' if yes else 'would be deleted; --yes deletes them'}")
    if default_format() is Format.JSON:
        print_json([job.id for job in old])
    else:
        now = datetime.now(UTC)
        print_table(
            [[j.id, j.status, duration((now - j.finished_at).total_seconds())] for j in old], ["job", "", "age"]
        )


@app.command(rich_help_panel="Jobs")
def pull(
    job: JobId,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="default: all artefacts")] = None,
    to: Annotated[Path | None, typer.Option(help="folder; default: the job's id")] = None,
    submission: Annotated[bool, typer.Option("--submission", help="submission.zip, built from this job")] = False,
    other: Annotated[str | None, typer.Option("--with", metavar="JOB", help="the other challenge's job")] = None,
) -> None:
    """Download what a job made, or its submission.zip.

    [dim]eegq pull job_… weights.pt scores.json --to best
    eegq pull JOB_OF_CHALLENGE1 --submission --with JOB_OF_CHALLENGE2[/]
    """
    client = connect()
    folder = to or Path(job)
    if submission:
        from eegq.submissions import fetch_submission

        paths = [fetch_submission(client, [job, *([other] if other else [])], folder / "submission.zip")]
    else:
        wanted = names or [artifact["name"] for artifact in client.jobs.artifacts(job)]
        paths = [client.jobs.download(job, name, folder / name) for name in wanted]
    _print_paths(paths)


@app.command(rich_help_panel="Jobs")
def reproduce(job: JobId) -> None:
    """Run a job again and say whether the result is bit-identical, or what differs.

    [dim]eegq reproduce job_…[/]
    """
    from eegq.reproduction import reproduce as run_again

    client = connect()
    again = client.jobs.retry(job)
    say(f"running {job} again as {again.id}")
    try:
        report = run_again(client, job, again.id)
    except KeyboardInterrupt:
        detach([again.id])
    if default_format() is Format.JSON:
        print_json(report.to_dict())
    else:
        print("\n".join(report.lines()))
    raise SystemExit(0 if report.identical else 1)


def _each(action: str, job_ids: list[str] | None, all_: bool) -> None:
    """One action on each job; with --all, on every active one, and a job that ends meanwhile is no error."""
    from eegq.errors import Conflict, UsageError

    if bool(job_ids) == all_:
        raise UsageError("name jobs, or use --all")
    client = connect()
    wanted = job_ids or [job.id for status in ACTIVE for job in client.jobs.list(None, status=status)]
    done = []
    for job_id in wanted:
        try:
            done.append(getattr(client.jobs, action)(job_id))
        except Conflict as error:
            if not all_:
                raise
            say(f"{job_id}: {error.detail}")
    _print_done(action, done)


def _print_done(action: str, jobs: list[Any]) -> None:
    if default_format() is Format.JSON:
        print_json([job.to_dict() for job in jobs])
        return
    for job in jobs:
        print(job.id, job.phase if job.status == "running" else job.status)
    if not jobs:
        say(f"nothing to {action}")


def _print_paths(paths: list[Path]) -> None:
    if default_format() is Format.JSON:
        print_json([str(path) for path in paths])
    else:
        print("\n".join(str(path) for path in paths))
