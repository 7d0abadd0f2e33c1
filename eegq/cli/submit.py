"""`eegq submit`, `wait`, `watch`, `retry`, `drill`: jobs going in, and waiting for them."""

import time
from typing import Annotated, Any

import typer

from eegq.cli.app import CTRL_C, PATIENT_S, app, connect, say
from eegq.cli.output import Format, default_format, print_json

JobIds = Annotated[list[str], typer.Argument(metavar="JOB...", help="job ids")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="a job's id")]
SpecFile = Annotated[str | None, typer.Argument(metavar="SPEC", help="a JSON file, or - for standard input")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print ids only")]


@app.command(rich_help_panel="Jobs")
def submit(
    spec: SpecFile = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="a field, e.g. training.lr=1e-4")] = None,
    seeds: Annotated[str | None, typer.Option(help="one job a seed: 1-5 or 0,3,7")] = None,
    group: Annotated[str | None, typer.Option(help="tag the jobs for `eegq compare GROUP`")] = None,
    alert: Annotated[
        list[str] | None, typer.Option(help="tell this address of its end and of failovers; see `eegq alerts -h`")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="follow until the end")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check only; prints the whole spec")] = False,
    quiet: Quiet = False,
) -> None:
    """Submit one job, or one a seed.

    [dim]eegq submit examples/challenge1.json --wait
    eegq submit spec.json --set training.lr=1e-4 --set model=EEGNet --seeds 1-5 --group low-lr
    eegq submit spec.json --alert text=https://ntfy.sh/my-topic
    echo '{"task": "challenge2"}' | eegq submit - -q[/]
    """
    from eegq import specs

    whole = specs.with_alerts(specs.with_settings(specs.read(spec), settings or []), alert or [])
    wanted = list(specs.with_seeds(whole, seeds, group))
    client = connect()
    if dry_run:
        print_json([client.jobs.check(one) for one in wanted] if seeds else client.jobs.check(wanted[0]))
        return
    jobs = [client.jobs.create(one) for one in wanted]
    if wait:
        jobs = follow(client, [job.id for job in jobs])
    show_submitted(jobs, quiet, one=not seeds)
    leave(jobs if wait else [])


@app.command(rich_help_panel="Jobs")
def wait(
    jobs: JobIds,
    timeout: Annotated[float | None, typer.Option(help="seconds; the job goes on")] = None,
    quiet: Quiet = False,
) -> None:
    """Wait for jobs. Exit status: 0 succeeded, 1 failed, 3 cancelled, 4 not done in time.

    [dim]eegq wait job_… --timeout 3600 && eegq pull job_…[/]
    """
    from eegq.errors import JobCancelled, JobFailed
    from eegq.resources import Job

    client, ended = connect(), []
    deadline = None if timeout is None else time.monotonic() + timeout
    for job_id in jobs:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            client.jobs.retrieve(job_id)
            client.retry_for_s = PATIENT_S
            ended.append(client.jobs.wait(job_id, left_s))
        except (JobFailed, JobCancelled) as error:
            say(f"error: {error}")
            ended.append(Job.model_validate(error.job))
        except KeyboardInterrupt:
            detach(jobs)
    show_submitted(ended, quiet, one=len(jobs) == 1)
    leave(ended)


@app.command(rich_help_panel="Jobs")
def watch(job: JobId) -> None:
    """Follow a job: progress, what each device computed, faults and moves. Ctrl-C detaches.

    [dim]eegq watch job_…[/]
    """
    ended = follow(connect(), [job])
    show_submitted(ended, quiet=False, one=True)
    leave(ended)


@app.command(rich_help_panel="Jobs")
def retry(
    jobs: JobIds,
    epochs: Annotated[str | None, typer.Option(help="go on to that many epochs, or `+50` more")] = None,
    quiet: Quiet = False,
) -> None:
    """Submit ended jobs again; with --epochs they go on from their last state.

    [dim]eegq retry job_…
    eegq retry job_… --epochs +50[/]
    """
    client = connect()
    wanted = int(epochs) if epochs and epochs.isdigit() else epochs
    show_submitted([client.jobs.retry(job, wanted) for job in jobs], quiet, one=len(jobs) == 1)


@app.command(rich_help_panel="Jobs")
def drill(
    kind: Annotated[str, typer.Argument(help="oom, sticky, abort, segfault, hang, nan, bitflip or slow")],
    spec: SpecFile = None,
    step: Annotated[int, typer.Option(help="training step at which it happens")] = 30,
    times: Annotated[int, typer.Option(help="how often it happens at that step; oom: 2 to move the batch")] = 1,
    where: Annotated[str, typer.Option(help="forward, backward or optimizer")] = "forward",
    settings: Annotated[list[str] | None, typer.Option("--set", help="a field, e.g. training.epochs=2")] = None,
) -> None:
    """Submit a job with a planned fault, watch it recover and see what it cost; needs a GPU worker
    (`eegq up --stand-in-gpu`).

    A flipped bit is found where steps are audited, as the first three are.

    [dim]eegq drill oom --step 30 --times 2
    eegq drill bitflip --step 1 --where optimizer[/]
    """
    from eegq import specs
    from eegq.cli.drilled import print_drill

    faulty = specs.with_settings(specs.read(spec), settings or [])
    faulty["drill"] = [{"kind": kind, "step": step, "times": times, "where": where}]
    client = connect()
    ended = follow(client, [client.jobs.create({"placement": "gpu", **faulty}).id])
    show_submitted(ended, quiet=False, one=True)
    if default_format() is Format.TABLE:
        print_drill(ended[0], client.jobs.events(ended[0].id), client.jobs.runs_of_steps(ended[0].id))
    leave(ended)


def follow(client: Any, job_ids: list[str]) -> list[Any]:
    """Watches the jobs one after the other; they run meanwhile. Ctrl-C leaves them running."""
    from eegq.cli.watching import watch as watch_one

    try:
        return [watch_one(client, job_id) for job_id in job_ids]
    except KeyboardInterrupt:
        detach(job_ids)
        raise


def detach(job_ids: list[str]) -> None:
    """Says how to come back, and exits."""
    names = " ".join(job_ids)
    say(f"\ndetached; still there: {names}\n  back:   eegq watch {job_ids[-1]}\n  cancel: eegq cancel {names}")
    raise SystemExit(CTRL_C)


def show_submitted(jobs: list[Any], quiet: bool, one: bool) -> None:
    if quiet:
        print("\n".join(job.id for job in jobs))
    elif default_format() is Format.JSON:
        rows = [job.to_dict() for job in jobs]
        print_json(rows[0] if one else rows)
    else:
        for job in jobs:
            print(job.id, job.status, *([f"nrmse {job.best.value:.4f}"] if job.best and job.best.value else []))


def leave(jobs: list[Any]) -> None:
    """Exit status 1 where one failed, else 3 where one was cancelled, else 0."""
    statuses = {job.status for job in jobs}
    raise SystemExit(1 if "failed" in statuses else 3 if "cancelled" in statuses else 0)
