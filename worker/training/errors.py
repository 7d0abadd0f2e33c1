"""Everything the engine raises on purpose.

TrainingError
├── SpecCannotRun      this model cannot be built or run at this shape
├── UserCodeFailed     a Python error in a model or step that the user wrote
├── CheckpointDamaged  a checkpoint whose digest or content is wrong
├── DeviceFault        the device cannot go on; carries the Fault; the process ends with status 75
├── JobFault           the job cannot go on anywhere; carries the Fault
└── Interrupted        the supervisor asked to stop: cancel, drain or pause
"""

from jobs.fault import Fault

EXIT_DEVICE = 75  # EX_TEMPFAIL: the supervisor reads it as "the device, not the job"


class TrainingError(Exception):
    """The root."""


class SpecCannotRun(TrainingError):
    """This model cannot be built or run at this shape."""


class UserCodeFailed(TrainingError):
    """A Python error in a model or step that the user wrote."""


class CheckpointDamaged(TrainingError):
    """A checkpoint whose digest or content is wrong."""


class DeviceFault(TrainingError):
    """The device cannot go on; the process ends with status 75."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class JobFault(TrainingError):
    """The job cannot go on anywhere."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Interrupted(TrainingError):
    """The supervisor asked to stop: `order` is cancel, drain or pause."""

    def __init__(self, order: str) -> None:
        super().__init__(order)
        self.order = order
