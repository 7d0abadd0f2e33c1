"""Whether a device's context is dead: then nothing but a new process helps. Asked inside the process in doubt."""

import threading
from collections.abc import Callable

import torch

from worker.training.device import Device

PROBE_S = 5.0


def is_sticky(device: Device) -> bool:
    """A small sum that fails or does not come back within 5 s. The thread of one that hangs is left behind."""
    works = threading.Event()

    def probe() -> None:
        device.synchronize()
        if float(torch.ones(64, device=device.torch).sum()) == 64.0:
            works.set()

    thread = threading.Thread(target=_quietly, args=(probe,), daemon=True)
    thread.start()
    thread.join(PROBE_S)
    return not works.is_set()


def _quietly(probe: Callable[[], None]) -> None:
    try:
        probe()
    except Exception:  # noqa: BLE001 - any failure is the answer
        return
