"""`eegq ls`, `get`, `logs`, `events`, `metrics`, `ledger`, `alerts`, `compare`: looking at jobs."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from eegq.cli.app import app, connect, say
from eegq.cli.output import Format, FormatOption, default_format, duration, print_json, show_rows
from eegq.cli.submit import JobId, detach
from eegq.errors import UsageError

Follow = Annotated[bool, typer.Option("--follow", "-f", help="go on until the job's end")]
LIST_COLUMNS = {
    "job": "id", "status": "status", "model": "model", "task": "task", "epoch": "epoch", "best": "best",
    "baseline": "baseline", "device": "device", "moved": "moved", "age": "age",
}  # fmt: skip
LIST_SPARE = ("baseline", "task", "device", "moved", "epoch", "model")
COMPARE_COLUMNS = {"jobs": "jobs", "best": "mean", "±": "spread", "min": "min", "max": "max", "baseline": "baseline"}


@app.command("ls", rich_help_panel="Looking")
def list_jobs(
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled")] = None,
    pool: Annotated[str | None, typer.Option(help="gpu or cpu")] = None,
    model: Annotated[str | None, typer.Option(help="a model's name")] = None,
    tag: Annotated[str | None, typer.Option(help="a tag")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="newest first")] = 20,
    output: FormatOption = None,
) -> None:
    """List jobs, newest first.

    [dim]eegq ls --status running
    eegq ls --tag group:low-lr -o jsonl | jq -r .id[/]
    """
    jobs = connect().jobs.list(limit, status=status, pool=pool, model=model, tag=tag)
    if not jobs and (output or default_format()) is Format.TABLE:
        say("no jobs; submit one: eegq submit examples/challenge1.json")
        return
    show_rows([_summary(job) for job in jobs], LIST_COLUMNS, output, [job.to_dict() for job in jobs], LIST_SPARE)


@app.command(rich_help_panel="Looking")
def get(job: JobId) -> None:
    """Print a job as JSON.

    [dim]eegq get job_… | jq .best[/]
    """
    print_json(connect().jobs.retrieve(job).to_dict())


@app.command(rich_help_panel="Looking")
def logs(job: JobId, follow: Follow = False) -> None:
    """Print what the trainer wrote, all attempts.

    [dim]eegq logs -f job_…[/]
    """
    client, offset = connect(), 0
    try:
        while True:
            final = not follow or client.jobs.retrieve(job).final
            text = client.jobs.logs(job, offset)
            print(text, end="", flush=True)
            offset += len(text.encode())
            if final:
                return
            time.sleep(1.0)
    except KeyboardInterrupt:
        detach([job])


@app.command(rich_help_panel="Looking")
def events(job: JobId, follow: Follow = False, output: FormatOption = None) -> None:
    """Print what happened to a job.

    [dim]eegq events -f job_…[/]
    """
    client = connect()
    wanted = output or (Format.TABLE if default_format() is Format.TABLE else Format.JSONL)
    try:
        for event in client.jobs.stream(job) if follow else client.jobs.events(job):
            _print_event(event, wanted)
    except KeyboardInterrupt:
        detach([job])


@app.command(rich_help_panel="Looking")
def metrics(
    job: JobId,
    name: Annotated[str | None, typer.Option(help="one metric, e.g. val_nrmse")] = None,
    output: FormatOption = None,
) -> None:
    """Print the metrics of each epoch.

    [dim]eegq metrics job_… --name val_nrmse -o csv[/]
    """
    from eegq import calls

    rows = connect().send(calls.job_metrics(job, name))
    columns = {heading: heading for row in rows for heading in row if heading not in ("at", "attempt")}
    show_rows(rows, columns, output, rows)


@app.command(rich_help_panel="Looking")
def ledger(
    job: JobId, device: Annotated[str | None, typer.Option(help="one device")] = None, output: FormatOption = None
) -> None:
    """Print which steps ran where, and why.

    [dim]eegq ledger job_… --device cpu[/]
    """
    from eegq import calls

    rows = connect().send(calls.job_ledger(job, device))
    names = ("first", "last", "device", "attempt", "reason", "superseded")
    show_rows(rows, {name: name for name in names}, output, rows)


@app.command(rich_help_panel="Looking")
def alerts(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="a job's id")] = None,
    secret: Annotated[bool, typer.Option("--secret", help="print what signs the alerts of your jobs")] = False,
    output: FormatOption = None,
) -> None:
    """Print what was told of a job and how it went.

    `submit --alert https://…` sends signed JSON, `text=https://…` a line (ntfy), `slack=https://…` Slack's form.

    [dim]eegq alerts job_…
    eegq alerts --secret[/]
    """
    if secret == bool(job):
        raise UsageError("name a job, or use --secret")
    if job is None:
        print(connect().alert_secret())
        return
    found = connect().jobs.alerts(job)
    rows = [{**row, "to": row["alert"]["url"]} for row in found]
    names = ("type", "to", "state", "tries", "note", "told_at")
    show_rows(rows, {name: name for name in names}, output, found)


@app.command(rich_help_panel="Looking")
def compare(
    what: Annotated[list[str], typer.Argument(metavar="GROUP|JOB...", help="groups of `submit --group`, or jobs")],
    output: FormatOption = None,
) -> None:
    """Compare groups of jobs: mean and spread of the best validation NRMSE over seeds, and where the specs differ.

    [dim]eegq compare low-lr high-lr[/]
    """
    from eegq.comparison import compare as compare_groups
    from eegq.comparison import grouped

    rows = compare_groups(grouped(connect(), what))
    varied = {path: path for row in rows for path in row["spec"]}
    flat = [{**row, **row["spec"]} for row in rows]
    show_rows(flat, {"group": "group", **varied, **COMPARE_COLUMNS}, output, rows)
    if (output or default_format()) is Format.TABLE:
        say("NRMSE on the validation subjects, lower is better; ± is the standard deviation over the jobs")


def _print_event(event: Any, wanted: Format) -> None:
    from eegq.cli.story import sentence

    if wanted is not Format.TABLE:
        print(event.model_dump_json(), flush=True)
    elif text := sentence(event):
        print(f"{event.at:%H:%M:%S}" if event.at else "", text, flush=True)


def _summary(job: Any) -> dict[str, Any]:
    progress, best, task = job.progress, job.best, job.spec.get("task")
    return {
        "id": job.id,
        "status": "paused" if job.phase == "paused" else job.status,
        "model": job.spec.get("model", {}).get("name"),
        "task": task if isinstance(task, str) else "own windows",
        "epoch": f"{progress.epoch}/{progress.epochs}" if progress else None,
        "best": best.value if best else None,
        "baseline": best.baseline if best else None,
        "device": job.placement.device,
        "moved": job.recovery.batches_moved + job.recovery.jobs_requeued,
        "age": duration((datetime.now(UTC) - job.created_at).total_seconds()) if job.created_at else None,
    }
