"""Everything worker.export raises on purpose. The text is for a person: what is wrong, and what to do about it.

ExportError
├── NotARun          the folder is not that of a run that has ended well
├── CannotSubmit     this run cannot become part of a submission
│   └── CannotWriteOut   its model cannot be written out as plain torch code
└── TriedOutBadly    the submission was built, and failed when it was tried out
"""


class ExportError(Exception):
    """The root."""


class NotARun(ExportError):
    """The folder is not that of a run that has ended well."""


class CannotSubmit(ExportError):
    """This run cannot become part of a submission."""


class CannotWriteOut(CannotSubmit):
    """Its model cannot be written out as plain torch code."""


class TriedOutBadly(ExportError):
    """The submission was built, and failed when it was tried out."""
