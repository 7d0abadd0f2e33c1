"""Everything jobs/ raises.

EegqError
├── UnknownJob            no such job
├── UnknownDataset        no dataset of that name is registered
├── UnknownModel          not in the catalogue
├── SpecRefused           the spec is well-formed but cannot run
├── IdempotencyConflict   the same Idempotency-Key came with another body
├── QuotaExceeded         the owner has as many active jobs as allowed
├── WrongState            the job's state does not allow this
├── StaleFence            a write by an attempt that is no longer the job's
├── LedgerGap             a step was committed before the one in front of it
├── ReplayDiffers         steps computed again gave another state, where the same bits were promised
├── SchemaMismatch        the store was written by a release that this one cannot read
└── StoreUnavailable      Redis is away, read-only or out of memory; try again
"""


class EegqError(Exception):
    """The root; `hint` says what a person can do about it."""

    hint: str | None = None

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UnknownJob(EegqError):
    """No such job."""


class UnknownDataset(EegqError):
    """No dataset of that name is registered."""


class UnknownModel(EegqError):
    """Not in the catalogue."""


class SpecRefused(EegqError):
    """The spec is well-formed but cannot run; `pointer` is the JSON pointer of the field."""

    def __init__(self, message: str, pointer: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.pointer = pointer


class IdempotencyConflict(EegqError):
    """The same Idempotency-Key came with another body."""


class QuotaExceeded(EegqError):
    """The owner has as many active jobs as allowed."""


class WrongState(EegqError):
    """The job's state does not allow this."""


class StaleFence(EegqError):
    """A write by an attempt that is no longer the job's."""


class LedgerGap(EegqError):
    """A step was committed before the one in front of it."""


class ReplayDiffers(EegqError):
    """Steps computed again gave another state, where the same bits were promised."""


class SchemaMismatch(EegqError):
    """The store was written by a release that this one cannot read."""


class StoreUnavailable(EegqError):
    """Redis is away, read-only or out of memory; try again."""
