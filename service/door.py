"""The door: what of a spec can be refused before anything runs. Knows names and shapes, not the recordings."""

from contextlib import suppress
from pathlib import Path

from jobs.alert import Network, may_be_told, networks_of, split
from jobs.datasets import Source
from jobs.errors import SpecRefused, UnknownJob
from jobs.job import JobState
from jobs.spec import HBN_CHANNELS, CustomStep, FixedWindows, Init, JobSpec, Pick, Resample
from service import owncode
from service.deps import Backend


def admit(spec: JobSpec, backend: Backend) -> tuple[Source, ...]:
    """The BIDS roots the job will read. Raises UnknownModel, UnknownDataset, SpecRefused."""
    settings = backend.settings
    if spec.drill and not settings.allow_drills:
        raise SpecRefused("drills are switched off", "/drill", hint="the operator allows them by EEGQ_ALLOW_DRILLS=1")
    _alerts(spec, networks_of(settings.alert_networks))
    _user_code(spec, settings.user_code)
    if ":" not in spec.model.name:
        backend.catalogue.check(spec.model, *shape(spec))
    if spec.init is not None:
        _init(spec.init, backend)
    return backend.shelf.select(spec.dataset)


def shape(spec: JobSpec) -> tuple[int | None, int | None]:
    """(n_chans, n_times) of the windows as the model sees them; None where only the recordings tell."""
    windows = spec.windows
    channels, sfreq, size_s = windows.channels, windows.sfreq, windows.size_s
    n_chans = len(HBN_CHANNELS) if channels == "hbn" else None if channels == "all" else len(channels)
    if isinstance(windows, FixedWindows) and windows.crop_s is not None:
        size_s = windows.crop_s
    for step in spec.preprocess:
        if isinstance(step, Pick):
            n_chans = len(step.channels)
        elif isinstance(step, Resample):
            sfreq = step.sfreq
        elif isinstance(step, CustomStep):
            n_chans, sfreq = None, None
    return n_chans, round(size_s * sfreq) if sfreq else None


def _user_code(spec: JobSpec, folder: Path | None) -> None:
    own = {"/model/name": spec.model.name} if ":" in spec.model.name else {}
    own |= {f"/preprocess/{i}": step.function for i, step in enumerate(spec.preprocess) if isinstance(step, CustomStep)}
    for place, name in own.items():
        if folder is None:
            hint = "the operator mounts a folder of my_models.py and my_steps.py by EEGQ_USER_CODE"
            raise SpecRefused("code of one's own is switched off", place, hint=hint)
        if reason := owncode.why_not(folder, name):
            raise SpecRefused(f"{name}: {reason}", place)


def _alerts(spec: JobSpec, allowed: tuple[Network, ...]) -> None:
    """Addresses that are numbers; what a name stands for is looked at each time something is sent."""
    for i, alert in enumerate(spec.alerts):
        host = str(split(alert.url).hostname)
        with suppress(ValueError):
            if not may_be_told("127.0.0.1" if host == "localhost" else host, allowed):
                hint = "the operator allows networks that are not public by EEGQ_ALERT_NETWORKS"
                raise SpecRefused(f"{host} is not a public address", f"/alerts/{i}/url", hint=hint)


def _init(init: Init, backend: Backend) -> None:
    if init.weights is not None and backend.weights.find(init.weights) is None:
        raise SpecRefused(f"no weights named {init.weights!r}", "/init/weights", hint="PUT /weights/NAME uploads them")
    if init.job is None:
        return
    try:
        state = backend.store.get(init.job).state
    except UnknownJob as error:
        raise SpecRefused(str(error), "/init/job") from error
    if state is not JobState.SUCCEEDED:
        raise SpecRefused(f"{init.job} is {state}; only a job that succeeded has weights", "/init/job")
