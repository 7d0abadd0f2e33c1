"""TrainingState: everything a step changes, as flat named tensors that are restored in place.

In place, because a captured graph keeps writing to the tensors it was captured with. Knows no files (checkpoint does).
"""

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from jobs.spec import Init, Training
from worker.training.dropout import bind

GROWTH_STEPS = 2000
FIRST_SCALE = 65536.0


class TrainingState:
    """Model, optimizer moments, loss scale, counters and the best weights so far.

    `step` (int64), `ok` (bool) and `loss_sum` (float32) live on the device: after a step that was not finite `ok` is
    false and later steps write nothing, until the host has looked.
    """

    def __init__(self, model: nn.Module, training: Training, device: torch.device, init: Init | None = None) -> None:
        self.model = model.to(device)
        self.device = device
        self.base_lrs: list[float] = []
        self.optimizer = self._make_optimizer(training, init)
        self.fused = bool(self.optimizer.defaults.get("fused"))
        self.step = torch.zeros((), dtype=torch.int64, device=device)
        bind(self.model, self.step)
        self.ok = torch.ones((), dtype=torch.bool, device=device)
        self.loss_sum = torch.zeros((), device=device)
        self.scale = torch.full((), FIRST_SCALE, device=device)
        self.scale_age = torch.zeros((), dtype=torch.int32, device=device)
        self.best = {name: t.detach().clone() for name, t in model.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Live references by name: model.*, optim.*, best.*, and the counters."""
        named = dict(self._named())
        return {name: named[name] for name in sorted(named)}

    def changing(self) -> list[Tensor]:
        """All that a step changes: everything but the best weights, with buffers that no state_dict holds."""
        moments = [value for slots in self.optimizer.state.values() for value in slots.values()]
        counters = [self.step, self.ok, self.loss_sum, self.scale, self.scale_age]
        return [*self.model.parameters(), *self.model.buffers(), *moments, *counters]

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Copies values into the live tensors. Raises ValueError where names or shapes differ."""
        live = self.tensors()
        if live.keys() != tensors.keys():
            odd = sorted(live.keys() ^ tensors.keys())[:4]
            raise ValueError(f"the checkpoint belongs to another model or optimizer: {odd}")
        for name, tensor in live.items():
            tensor.copy_(tensors[name])

    @torch.no_grad()
    def keep_best(self) -> None:
        for name, tensor in self.model.state_dict().items():
            self.best[name].copy_(tensor)

    @property
    def lr(self) -> float:
        """Of the first group of parameters."""
        return float(self.optimizer.param_groups[0]["lr"])

    def set_lr(self, factor: float) -> None:
        """Sets base * factor; on CUDA the rate is a tensor, since a captured step reads it from the device."""
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(base * factor)
            else:
                group["lr"] = base * factor

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.model.state_dict().items():
            yield f"model.{name}", tensor
        for name, parameter in self.model.named_parameters():
            for slot, value in self.optimizer.state.get(parameter, {}).items():
                yield f"optim.{name}.{slot}", value
        for name, tensor in self.best.items():
            yield f"best.{name}", tensor
        for name in ("step", "ok", "loss_sum", "scale", "scale_age"):
            yield name, getattr(self, name)

    def _make_optimizer(self, training: Training, init: Init | None) -> torch.optim.Optimizer:
        groups = list(self._groups(training, init))
        self.base_lrs = [group["lr"] for group in groups]
        if self._is_cuda():
            groups = [{**group, "lr": torch.tensor(group["lr"], device=self.device)} for group in groups]
        decay = training.weight_decay
        if training.optimizer == "adamw":
            optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                groups, weight_decay=decay, fused=True, capturable=self._is_cuda()
            )
            slots: tuple[str, ...] = ("exp_avg", "exp_avg_sq")
        elif training.optimizer == "adamax":
            optimizer = torch.optim.Adamax(groups, weight_decay=decay, foreach=True, capturable=self._is_cuda())
            slots = ("exp_avg", "exp_inf")
        else:
            optimizer = torch.optim.SGD(groups, weight_decay=decay, momentum=training.momentum, fused=True)
            slots = ("momentum_buffer",) if training.momentum else ()
        self._fill(optimizer, slots, with_step=training.optimizer != "sgd")
        return optimizer

    def _fill(self, optimizer: torch.optim.Optimizer, slots: tuple[str, ...], with_step: bool) -> None:
        """Makes the moments now: torch makes them in the first step, too late to be restored into."""
        on_device = bool(optimizer.defaults.get("fused")) or self._is_cuda()
        for group in optimizer.param_groups:
            for p in group["params"]:
                values = {slot: torch.zeros_like(p) for slot in slots}
                if with_step:
                    values["step"] = torch.zeros((), device=p.device if on_device else "cpu")
                optimizer.state[p] = values

    def _groups(self, training: Training, init: Init | None) -> Iterator[dict]:
        taken, head = [], []
        for name, parameter in self.model.named_parameters():
            if init and any(fnmatchcase(name, glob) for glob in init.freeze):
                parameter.requires_grad_(False)
            elif init and init.head_lr and not took(init, name):
                head.append(parameter)
            else:
                taken.append(parameter)
        if taken:
            yield {"params": taken, "lr": training.lr}
        if head and init and init.head_lr:
            yield {"params": head, "lr": init.head_lr}

    def _is_cuda(self) -> bool:
        return self.device.type == "cuda"


def took(init: Init, name: str) -> bool:
    """Whether `init` takes the tensor of this name from the earlier weights."""
    chosen = any(fnmatchcase(name, glob) for glob in init.include)
    return chosen and not any(fnmatchcase(name, glob) for glob in init.exclude)


def lr_factor(schedule: str, epoch: int, epochs: int) -> float:
    """Cosine annealing to zero over the epochs asked for (Loshchilov & Hutter, 2017), or 1."""
    return 0.5 * (1 + math.cos(math.pi * epoch / max(1, epochs))) if schedule == "cosine" else 1.0
