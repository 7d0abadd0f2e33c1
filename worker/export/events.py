"""TensorBoard event files: scalars by name and step, readable while training goes on.

Written by hand, because tensorboard's own writer takes half a second to import. Knows no job.
Format: TFRecords (length, CRC, bytes, CRC) of Event messages; see tensorflow/core/lib/io/record_writer.h and
tensorflow/core/util/event.proto.
"""

import os
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

VERSION = b"brain.Event:2"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protocol buffers' wire types
WALL_TIME, STEP, FILE_VERSION, SUMMARY, SESSION_LOG = 1, 2, 3, 5, 7  # fields of Event
STARTED = b"\x08\x01"  # SessionLog(status=START): later steps of an earlier file are void
CRC32C = 0x82F63B78  # Castagnoli's polynomial, reversed


class EventFile:
    """One file a process; TensorBoard reads all files of a folder as one run."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"events.out.tfevents.{time.time():.6f}.{os.getpid()}"
        self._begun = False

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends one record. The first one voids what an earlier file has from this step on."""
        events = [(SUMMARY, _summary(scalars))]
        if not self._begun:
            events = [(FILE_VERSION, VERSION), (SESSION_LOG, STARTED), *events]
            self._begun = True
        records = [_event(step, _field(number, BYTES, content)) for number, content in events]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(b"".join(_record(record) for record in records))


def _event(step: int, content: bytes) -> bytes:
    return _field(WALL_TIME, FIXED64, struct.pack("<d", time.time())) + _field(STEP, VARINT, _varint(step)) + content


def _summary(scalars: Mapping[str, float]) -> bytes:
    """Summary(value=[Value(tag, simple_value), ...])."""
    values = (
        _field(1, BYTES, tag.encode()) + _field(2, FIXED32, struct.pack("<f", value)) for tag, value in scalars.items()
    )
    return b"".join(_field(1, BYTES, value) for value in values)


def _field(number: int, wire_type: int, content: bytes) -> bytes:
    length = _varint(len(content)) if wire_type == BYTES else b""
    return _varint(number << 3 | wire_type) + length + content


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _crc_table() -> Iterator[int]:
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (CRC32C if crc & 1 else 0)
        yield crc


_TABLE = tuple(_crc_table())
