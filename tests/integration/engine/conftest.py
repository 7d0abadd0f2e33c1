"""A small simulated dataset, and a trainer that runs inside the test with a supervisor that the test plays."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.audit import Verdict
from jobs.datasets import scan, select
from jobs.spec import JobSpec
from worker.data.prepare import Prepared, prepare
from worker.data.simulate import simulate
from worker.training.device import device_of
from worker.training.lane import Folders, Lane
from worker.training.loop import Loop
from worker.training.parts import assemble


@dataclass
class Supervisor:
    """Collects what the engine tells; `answer_ticket` plays the CPU pool; `orders_at` maps a step to an order."""

    answer_ticket: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda ticket: None
    orders_at: dict[int, str] = field(default_factory=dict)
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    step: int = 0

    def tell(self, type: str, next_within_s: float = 0.0, **fields: Any) -> None:
        json.dumps(fields, allow_nan=False)  # as the pipe does
        self.told.append((type, fields))
        if type == "commit":
            self.step = fields["last"] + 1

    def orders(self) -> list[dict[str, Any]]:
        due = [at for at in self.orders_at if self.step >= at]
        return [{"type": self.orders_at.pop(at)} for at in due]

    def answer(self, step: int, timeout_s: float) -> dict[str, Any] | None:
        return self.answer_ticket(self.of("ticket")[-1])

    def of(self, type: str) -> list[dict[str, Any]]:
        return [fields for told, fields in self.told if told == type]


@dataclass
class Engine:
    """Trains specs on the small dataset, in `folder`/runs."""

    folder: Path

    def spec(self, **fields: Any) -> JobSpec:
        training = {"epochs": 2, "batch_size": 16, **fields.pop("training", {})}
        return JobSpec.model_validate({"dataset": "small", "training": training, **fields})

    def data(self, spec: JobSpec) -> Prepared:
        sources = select(scan(self.folder / "data"), spec.dataset)
        return prepare(spec, sources, self.folder / "data", self.folder / "cache")

    def loop(
        self,
        spec: JobSpec,
        device: str = "cpu",
        supervisor: Supervisor | None = None,
        fence: int = 1,
        audit_every_s: float = 0.0,
    ) -> Loop:
        parts = assemble(spec, self.data(spec), device_of(device), self.folder / "runs")
        return Loop(parts, self.run_folder(spec), fence, supervisor or Supervisor(), audit_every_s)

    def auditor(self) -> Callable[[dict[str, Any]], Verdict]:
        """What the CPU pool finds in what a trainer set aside."""
        lane = Lane(Folders(self.folder / "runs", self.folder / "data", self.folder / "cache"))
        return lambda asked: lane.audit("job", asked["first"], asked["steps"], Path(asked["folder"]))

    def run_folder(self, spec: JobSpec) -> Path:
        path = self.folder / "runs" / "job"
        path.mkdir(parents=True, exist_ok=True)
        sources = [{"release": s.release, "path": s.path} for s in select(scan(self.folder / "data"), spec.dataset)]
        (path / "spec.json").write_text(json.dumps({"spec": spec.model_dump(mode="json"), "sources": sources}))
        return path

    def lane(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """What the CPU pool answers to a ticket."""
        lane = Lane(Folders(self.folder / "runs", self.folder / "data", self.folder / "cache"))

        def answer(ticket: dict[str, Any]) -> dict[str, Any]:
            return lane.compute("job", ticket["step"], Path(ticket["before"]), Path(ticket["after"])) | {
                "device": "cpu"
            }

        return answer


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    simulate(folder / "data" / "small", subjects=4, runs=1, trials=20, rest_s=30, seed=1)
    return folder


@pytest.fixture
def engine(small_dataset: Path, tmp_path: Path) -> Engine:
    """Data and cache are shared by the session, runs are the test's own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in ("data", "cache"):
        (small_dataset / name).mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(small_dataset / name)
    yield Engine(tmp_path)
    torch.set_num_threads(threads)


def weights(loop: Loop) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in loop.parts.state.tensors().items()}


def assert_identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different
