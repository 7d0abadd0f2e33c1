"""Whether a device's context is dead: then nothing but a new process helps. Asked inside the process in doubt."""

import threading

import torch

from worker.training.device import Device

PROBE_S = 5.0


def is_sticky(device: Device) -> bool:
    """A small sum that fails or does not come back within 5 s. The thread of one that hangs is left behind.

    Full memory is no sign of death: the device had to answer to say so.
    """
    works = threading.Event()

    def probe() -> None:
        try:
            device.synchronize()
            adds_up = float(torch.ones(64, device=device.torch).sum()) == 64.0
        except torch.OutOfMemoryError:
            adds_up = True
        except Exception:  # noqa: BLE001 - any failure is the answer
            adds_up = False
        if adds_up:
            works.set()

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_S)
    return not works.is_set()
