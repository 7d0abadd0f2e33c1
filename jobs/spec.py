"""JobSpec: what a user may ask for, checked at the door; every field has a default that works.

Knows no files, no Redis and no model library: names of models and datasets are checked by whoever holds them.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator
from pydantic import Strict as Uncoerced

from jobs.alert import Alert

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="a registered name, never a path")]
JobId = Annotated[str, Field(pattern=r"^job_[0-9a-z]{16}$")]
Label = Annotated[str, Field(min_length=1, max_length=128)]
# `true`, "3" and 1.0 are no integers: what was meant is asked, not guessed.
Integer = Annotated[int, Uncoerced()]
Number = Annotated[float, Uncoerced()]
Flag = Annotated[bool, Uncoerced()]
Positive = Annotated[Number, Field(gt=0)]

HBN_CHANNELS = (*(f"E{i}" for i in range(1, 129)), "Cz")


class Strict(BaseModel):
    """Frozen, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# --- what is cut from the recordings -------------------------------------------------------------------------------


class EventMapping(Strict):
    """Which event values (events.tsv `value`/`trial_type`, or annotation descriptions) mean what."""

    stimulus: tuple[Label, ...] = Field(
        min_length=1, max_length=64, description="a trial's anchor: the first of these in it"
    )
    response: tuple[Label, ...] = Field(
        (), max_length=64, description="the first of these at or after the stimulus gives the response time"
    )


class Signals(Strict):
    """What every kind of window shares: recordings, rate and channels."""

    bids_tasks: tuple[Label, ...] = Field(
        (), max_length=16, description="BIDS `task-` labels; empty takes every recording"
    )
    sfreq: Positive | None = Field(
        100.0, le=2000, description="Hz; recordings at another rate are resampled; null keeps theirs"
    )
    channels: tuple[Label, ...] | Literal["hbn", "all"] = Field(
        "hbn", description="names in order; `hbn` is E1..E128 and Cz; `all` takes the first recording's"
    )


class EventWindows(Signals):
    """One window a trial, locked to its stimulus."""

    kind: Literal["events"] = "events"
    mapping: EventMapping
    trial_start: Label | None = Field(None, description="event that opens a trial; null: every stimulus opens its own")
    trial_end: Label | None = Field(
        None, description="event that ends the last trial; without it, the recording's end does"
    )
    target: Label = Field(
        "response_time", description="`response_time` (s), `events.COLUMN`, or a column of participants.tsv"
    )
    start_s: Number = Field(0.0, ge=-60, le=60, description="window start, seconds from the stimulus")
    size_s: Positive = Field(2.0, le=60)
    max_response_s: Positive | None = Field(None, description="trials that respond later are dropped by name")

    @model_validator(mode="after")
    def _response_time_needs_a_response(self) -> Self:
        if self.target == "response_time" and not self.mapping.response:
            raise ValueError("target `response_time` needs `mapping.response`")
        return self


class FixedWindows(Signals):
    """Windows of fixed length along the whole recording."""

    kind: Literal["fixed"] = "fixed"
    target: Label = Field("externalizing", description="a numeric column of participants.tsv")
    size_s: Positive = Field(4.0, le=600)
    stride_s: Positive = Field(2.0, le=600)
    crop_s: Positive | None = Field(
        2.0, description="random crop in training, centre crop in evaluation; null: the whole window"
    )

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop_s is not None and self.crop_s > self.size_s:
            raise ValueError(f"crop_s {self.crop_s} is longer than size_s {self.size_s}")
        return self


WindowSpec = Annotated[EventWindows | FixedWindows, Field(discriminator="kind")]

CHALLENGES: dict[str, EventWindows | FixedWindows] = {
    "challenge1": EventWindows(
        bids_tasks=("contrastChangeDetection",),
        mapping=EventMapping(
            stimulus=("left_target", "right_target"), response=("left_buttonPress", "right_buttonPress")
        ),
        trial_start="contrastTrial_start",
        trial_end="end_experiment",
        start_s=0.5,
        size_s=2.0,
        max_response_s=2.5,
    ),
    "challenge2": FixedWindows(bids_tasks=("RestingState",)),
}


class Dataset(Strict):
    """Which recordings of a registered dataset take part."""

    name: Name = "demo"
    releases: tuple[Label, ...] = Field((), max_length=64, description="e.g. R1, R2; empty takes all")
    subjects: tuple[Label, ...] | Annotated[Integer, Field(ge=2)] | None = Field(
        None, description="labels without `sub-`, or the first N of the sorted list; null takes all"
    )
    exclude_subjects: tuple[Label, ...] = Field((), max_length=4096)


class SubjectSplit(Strict):
    """Hold out a share of the subjects, drawn by the seed."""

    by: Literal["subject"] = "subject"
    fraction: Annotated[Number, Field(gt=0, lt=1)] = 0.2


class ReleaseSplit(Strict):
    """Hold out whole releases; a subject found on both sides is validated, never trained on."""

    by: Literal["release"] = "release"
    releases: tuple[Label, ...] = Field(min_length=1, max_length=64)


class FoldSplit(Strict):
    """One fold of k, by subject."""

    by: Literal["fold"] = "fold"
    folds: Integer = Field(5, ge=2, le=100)
    fold: Integer = Field(0, ge=0)

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds}: folds are counted from 0")
        return self


Split = Annotated[SubjectSplit | ReleaseSplit | FoldSplit, Field(discriminator="by")]


class Preflight(Strict):
    """What happens to recordings that fail a check."""

    strict: Flag = Field(False, description="fail the job on the first bad recording instead of dropping it")
    max_dropped: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.2, description="share of recordings that may be dropped"
    )


# --- what is done to the signal ------------------------------------------------------------------------------------


class Filter(Strict):
    step: Literal["filter"] = "filter"
    l_freq: Positive | None = Field(None, description="Hz; high-pass edge")
    h_freq: Positive | None = Field(None, description="Hz; low-pass edge")

    @model_validator(mode="after")
    def _has_an_edge(self) -> Self:
        if self.l_freq is None and self.h_freq is None:
            raise ValueError("a filter needs l_freq, h_freq or both")
        return self


class Rereference(Strict):
    step: Literal["rereference"] = "rereference"
    channels: tuple[Label, ...] | Literal["average"] = "average"


class Clip(Strict):
    step: Literal["clip"] = "clip"
    limit_uv: Positive = 500.0


class ZScore(Strict):
    step: Literal["zscore"] = "zscore"
    by: Literal["recording", "channel"] = "channel"


class Resample(Strict):
    step: Literal["resample"] = "resample"
    sfreq: Positive = Field(le=2000)


class Pick(Strict):
    step: Literal["pick"] = "pick"
    channels: tuple[Label, ...] = Field(min_length=1)


class CustomStep(Strict):
    """A function of the operator's mounted folder: `fn(x_CT, sfreq, **params) -> x_CT`."""

    step: Literal["custom"] = "custom"
    function: str = Field(pattern=r"^[A-Za-z_]\w*:[A-Za-z_]\w*$", examples=["my_steps:fn"])
    params: dict[str, JsonValue] = {}


PreprocessStep = Annotated[
    Filter | Rereference | Clip | ZScore | Resample | Pick | CustomStep, Field(discriminator="step")
]


class Augmentation(Strict):
    """One of braindecode's transforms, drawn from counters."""

    name: str = Field(pattern=r"^[A-Z]\w{1,63}$", examples=["ChannelsDropout"])
    probability: Annotated[Number, Field(ge=0, le=1)] = 0.5
    params: dict[str, JsonValue] = {}


# --- what is trained ----------------------------------------------------------------------------------------------


class Model(Strict):
    """A braindecode model by name, or `my_models:Net` where the operator mounts such a folder."""

    name: str = Field("SCCNet", pattern=r"^[A-Za-z_]\w{0,63}(:[A-Za-z_]\w{0,63})?$")
    params: dict[str, JsonValue] = Field(
        {}, description="the model's own arguments; shapes are filled in from the windows"
    )


class Init(Strict):
    """Weights to start from: those of an earlier job, or an uploaded safetensors file."""

    job: JobId | None = None
    weights: Name | None = Field(None, description="name of an uploaded safetensors file")
    include: tuple[Label, ...] = Field(("*",), description="globs over tensor names to take")
    exclude: tuple[Label, ...] = Field((), description="globs to leave at their fresh values, e.g. a head")
    freeze: tuple[Label, ...] = Field((), description="globs over parameters that are not trained")
    head_lr: Positive | None = Field(None, description="learning rate of the tensors that were not taken")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.job is None) == (self.weights is None):
            raise ValueError("init takes either `job` or `weights`")
        return self


class Precision(StrEnum):
    AUTO = "auto"
    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"


class Training(Strict):
    epochs: Integer = Field(20, ge=0, le=10_000, description="0 evaluates the weights given by `init`")
    batch_size: Integer = Field(
        128, ge=2, le=65_536, description="windows a step; an epoch's incomplete last batch is dropped"
    )
    optimizer: Literal["adamw", "adamax", "sgd"] = Field("adamw", description="challenge2: adamax")
    lr: Annotated[Number, Field(gt=0, le=10)] = Field(1e-3, description="challenge2: 2e-3")
    weight_decay: Annotated[Number, Field(ge=0, le=10)] = Field(1e-5, description="challenge2: 0")
    momentum: Annotated[Number, Field(ge=0, lt=1)] = Field(0.9, description="sgd only")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="over the epochs asked for, by epoch")
    loss: Literal["mse", "l1", "huber"] = Field("mse", description="challenge2: l1")
    gradient_clip: Positive | None = Field(None, description="limit of the gradient's global norm")
    early_stopping: Annotated[Integer, Field(ge=1)] | None = Field(
        None, description="epochs without a better validation NRMSE before training ends"
    )
    start_at_mean: Flag = Field(
        True, description="the last bias starts at the training targets' mean, unless `init` brings it"
    )
    precision: Precision = Field(
        Precision.AUTO,
        description="auto: TF32 on an NVIDIA card, fp32 elsewhere; the CPU computes in fp32 whatever is asked",
    )
    deterministic: Flag = Field(False, description="bit-identical on the same kind of device; slower on a GPU")
    fast_path: Flag = Field(True, description="exact faster evaluation of models that have one")


class Placement(StrEnum):
    AUTO = "auto"
    GPU = "gpu"
    CPU = "cpu"


class Failover(StrEnum):
    BATCH_AND_JOB = "batch_and_job"
    JOB = "job"
    NEVER = "never"


class Drill(Strict):
    """A fault to inject, where the operator allows it; it never fires on the CPU pool."""

    kind: Literal["oom", "sticky", "abort", "segfault", "hang", "nan", "bitflip", "slow"]
    step: Integer = Field(ge=0, description="training step at which it happens")
    where: Literal["forward", "backward", "optimizer"] = "forward"
    times: Integer = Field(1, ge=1, le=1000, description="how often it happens at that step")


TASK_DEFAULTS: dict[str, dict[str, Any]] = {
    "challenge2": {"optimizer": "adamax", "lr": 2e-3, "weight_decay": 0.0, "loss": "l1"},
}


class JobSpec(Strict):
    """A training job. `{"task": "challenge1", "dataset": "demo"}` is a whole one."""

    task: Literal["challenge1", "challenge2"] | WindowSpec = "challenge1"
    dataset: Dataset = Dataset()
    validation: Split = SubjectSplit()
    preflight: Preflight = Preflight()
    preprocess: tuple[PreprocessStep, ...] = Field((), max_length=16)
    augment: tuple[Augmentation, ...] = Field((), max_length=16)
    model: Model = Model()
    init: Init | None = None
    training: Training = Training()
    placement: Placement = Placement.AUTO
    gpu_wait_s: Annotated[Number, Field(ge=0, le=86_400)] = Field(
        30.0, description="seconds an `auto` job waits for a GPU before the CPU pool may take it"
    )
    failover: Failover = Failover.BATCH_AND_JOB
    seed: Integer = Field(0, ge=0, lt=2**31)
    priority: Integer = Field(0, ge=-100, le=100, description="higher runs first among one owner's jobs")
    max_hours: Positive | None = Field(None, le=24 * 30, description="wall time of training after which the job fails")
    tags: tuple[Label, ...] = Field((), max_length=32)
    metadata: dict[Label, Annotated[str, Field(max_length=512)]] = Field({}, max_length=32)
    alerts: tuple[Alert, ...] = Field((), max_length=4, description="who is told of its end and of failovers")
    drill: tuple[Drill, ...] = Field((), max_length=512)

    @property
    def windows(self) -> EventWindows | FixedWindows:
        """The window rules that `task` stands for."""
        return CHALLENGES[self.task] if isinstance(self.task, str) else self.task

    @field_validator("dataset", "model", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_task(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("task"), str):
            return data
        training = data.get("training", {})
        if not isinstance(training, dict):
            return data
        return {**data, "training": {**TASK_DEFAULTS.get(data["task"], {}), **training}}

    @model_validator(mode="after")
    def _an_evaluation_needs_weights(self) -> Self:
        if self.training.epochs == 0 and self.init is None:
            raise ValueError("training.epochs 0 evaluates existing weights: say which in `init`")
        return self
