"""Everything worker.devices raises.

DeviceTestError
└── WrongNumbers   the device computed, but not what the reference did
"""


class DeviceTestError(Exception):
    """The root."""


class WrongNumbers(DeviceTestError):
    """The device computed, but not what the reference did."""
