"""Every recording of a plan, looked at: built for the store, checked, and cut into windows.

Knows neither what a job does with the windows nor whether it may go on with what was found.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jobs.spec import EventWindows
from worker.data.builder import Request
from worker.data.building import Built, build_all
from worker.data.checks import check_events, check_listing, check_signal, check_trials, read_sidecar
from worker.data.cutting import Cut, cut_events, cut_fixed, n_samples
from worker.data.events import Events, read_events
from worker.data.findings import Check, Finding, Severity
from worker.data.plan import Plan
from worker.data.preflight import Examined, Status, check_duplicates, check_rates
from worker.data.recordings import Recording
from worker.data.store import Meta, Store
from worker.data.trials import trial_table

Report = Callable[[str, dict[str, Any]], None]


def examine(plan: Plan, store: Store, report: Report, memory_budget_bytes: int, workers: int) -> list[Examined]:
    looked_at = [_look(plan, recording) for recording in plan.recordings]
    wanted = [one.recording for one in looked_at if one.status is not Status.EXCLUDED and one.recording.path]
    built = _build(plan, store, wanted, report, memory_budget_bytes, workers)
    read = check_duplicates([_with_entry(store, one, built) for one in looked_at])
    return [_cut(plan, one) for one in check_rates(read)]


def _look(plan: Plan, recording: Recording) -> Examined:
    findings = list(check_listing(recording, plan.spec))
    if plan.targets_are_traits and plan.trait(recording) is None:
        message = f"{plan.spec.windows.target} of this subject is missing"
        findings.append(Finding(Check.TARGET_MISSING, Severity.EXCLUDED, message))
    return Examined(recording, tuple(findings))


def _build(
    plan: Plan, store: Store, wanted: Sequence[Recording], report: Report, memory_budget_bytes: int, workers: int
) -> dict[str, Built]:
    """By name of recording: what the store has already, and what is built now."""
    requests = {
        recording.name: Request(
            str(recording.path),
            plan.identity(recording),
            plan.processing,
            str(plan.steps_dir) if plan.steps_dir else None,
        )
        for recording in wanted
    }
    done = {name: Built(r, key) for name, r in requests.items() if (key := store.find(r.identity))}
    names = {request.identity: name for name, request in requests.items()}
    missing = [recording for recording in wanted if recording.name not in done]
    sizes = [recording.inventory.bytes for recording in missing]
    started_s = time.monotonic()
    answers = build_all([requests[r.name] for r in missing], store.folder, sizes, memory_budget_bytes, workers)
    for n, answer in enumerate(answers, 1):
        done[names[answer.request.identity]] = answer
        eta_s = (time.monotonic() - started_s) / n * (len(missing) - n)
        detail = {"recordings_done": len(done), "recordings": len(wanted), "eta_s": round(eta_s, 1)}
        report("preprocessing", detail)
    return done


def _with_entry(store: Store, one: Examined, built: dict[str, Built]) -> Examined:
    answer = built.get(one.recording.name)
    if answer is None:
        return one
    if answer.key is None:
        finding = Finding(Check.UNREADABLE, Severity.FAILED, str(answer.problem), remedy="fetch the file again")
        return replace(one, findings=(*one.findings, finding))
    return replace(one, key=answer.key, meta=store.meta(answer.key))


def _cut(plan: Plan, one: Examined) -> Examined:
    """The windows of a recording whose signal is there, and what the checks of signal and events say."""
    if one.status is Status.EXCLUDED and one.meta is None:
        return one
    rules, meta = plan.spec.windows, one.meta or Meta("")
    findings = [*one.findings, *check_signal(one.recording, meta, rules)]
    if isinstance(rules, EventWindows):
        cut, problems = _cut_events(one.recording, meta, rules)
        findings += problems
        return replace(one, findings=tuple(findings), cut=_with_trait(plan, one.recording, cut))
    cut = None
    if meta.n_times >= n_samples(rules.size_s, meta.sfreq or 1):
        cut = cut_fixed(rules, float(plan.trait(one.recording) or 0.0), meta.sfreq, meta.n_times)
    return replace(one, findings=tuple(findings), cut=cut)


def _cut_events(recording: Recording, meta: Meta, rules: EventWindows) -> tuple[Cut | None, list[Finding]]:
    """Where there is no usable signal, its events are checked for the length that was meant, and nothing is cut."""
    events, problems = _events(recording, meta, rules)
    sfreq = meta.sfreq or rules.sfreq or 100.0
    n_times = meta.n_times or round(_meant_s(recording, meta) * sfreq)
    if events is None or not n_times:
        return None, problems
    cut = cut_events(trial_table(events, rules, n_times / sfreq), rules, sfreq, n_times)
    problems += check_trials(events, cut, n_times / sfreq)
    return cut if meta.n_times else None, problems


def _meant_s(recording: Recording, meta: Meta) -> float:
    """How long a recording should be, by its sidecar; else how long its file is; 0 where neither is known."""
    said = read_sidecar(recording).get("RecordingDuration")
    if isinstance(said, int | float) and said > 0:
        return float(said)
    return meta.original_n_times / meta.original_sfreq if meta.original_sfreq else 0.0


def _events(recording: Recording, meta: Meta, rules: EventWindows) -> tuple[Events | None, list[Finding]]:
    """From events.tsv, else from the signal file itself."""
    wanted = (*rules.mapping.stimulus, *rules.mapping.response)
    if "_events.tsv" not in recording.inventory:
        inside = [(onset_s, label) for onset_s, label in meta.annotations if label in wanted]
        if not inside:
            message = "no events.tsv, and none of the mapping's events in the signal file"
            return None, [Finding(Check.EVENTS_MISSING, Severity.FAILED, message, remedy="put events.tsv beside it")]
        events = Events(
            np.array([onset for onset, _ in meta.annotations]), np.array([label for _, label in meta.annotations]), {}
        )
        note = Finding(Check.EVENTS_MISSING, Severity.NOTE, "no events.tsv; events are those in the signal file")
        return events, [note, *check_events(events, rules)]
    try:
        events = read_events(recording.sidecar("_events.tsv"), wanted)
    except ValueError as error:
        return None, [Finding(Check.EVENTS_UNREADABLE, Severity.FAILED, f"events.tsv: {error}")]
    return events, list(check_events(events, rules))


def _with_trait(plan: Plan, recording: Recording, cut: Cut | None) -> Cut | None:
    if cut is None or not plan.targets_are_traits:
        return cut
    trait = plan.trait(recording)
    return replace(cut, target=np.full(len(cut.start), np.nan if trait is None else trait))
