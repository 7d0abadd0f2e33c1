"""What worker.data raises.

DataError                the data or the spec is wrong: the job fails at once and is never requeued
└── StepFailed           the user's own preprocessing function raised; `details` holds its traceback
StorageUnavailable       the disk or the network folder does not answer: wait and try again
└── StorageFull          no space left for the store, even after evicting what no job uses
"""

import errno
from typing import Self

INFRASTRUCTURE = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.ECONNRESET,
        errno.ENXIO,
        errno.ENODEV,
        getattr(errno, "EREMOTEIO", errno.EIO),  # Linux only
    }
)
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class DataError(Exception):
    """Wrong data: same result on every device. Names the recording, the event and what a person can do."""

    def __init__(
        self,
        reason: str,
        recording: str | None = None,
        event: str | None = None,
        remedy: str | None = None,
        details: str | None = None,
    ) -> None:
        self.reason, self.recording, self.event, self.remedy, self.details = reason, recording, event, remedy, details
        super().__init__(str(self))

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.recording, self.event) if part)
        return f"{where + ': ' if where else ''}{self.reason}{'; ' + self.remedy if self.remedy else ''}"


class StepFailed(DataError):
    """A custom preprocessing step raised or returned something that is not a signal."""


class StorageUnavailable(Exception):
    """The storage does not answer (EIO, ESTALE, ETIMEDOUT ...): infrastructure, never a reason to drop a recording."""

    @classmethod
    def of(cls, error: OSError) -> Self:
        return cls(f"{error.strerror or error} ({errno.errorcode.get(error.errno or 0, error.errno)})")


class StorageFull(StorageUnavailable):
    """No space left on the disk of the store."""


def infrastructure(error: OSError) -> StorageUnavailable | None:
    """The infrastructure fault that an OSError stands for, or None where it tells of the file itself."""
    if error.errno in FULL:
        return StorageFull.of(error)
    return StorageUnavailable.of(error) if error.errno in INFRASTRUCTURE else None
