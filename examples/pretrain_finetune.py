"""Pretrain on one target, then fine-tune on another: the second job takes the first one's weights without the head."""

import json
import os
from pathlib import Path

from eegq import Client

EPOCHS = int(os.environ.get("EPOCHS", "20"))
PRETRAIN = json.loads((Path(__file__).parent / "pretrain.json").read_text())

client = Client()
pretrained = client.jobs.wait(client.jobs.create({**PRETRAIN, "training": {"epochs": EPOCHS}}).id)

finetuned = client.jobs.create(
    {
        "task": "challenge1",
        "dataset": "demo",
        "init": {"job": pretrained.id, "exclude": ["final_layer.*"], "head_lr": 1e-3},
        "training": {"epochs": EPOCHS, "lr": 1e-4},
    }
)
scratch = client.jobs.create({"task": "challenge1", "dataset": "demo", "training": {"epochs": EPOCHS}})

for name, job in (("fine-tuned", finetuned), ("from scratch", scratch)):
    best = client.jobs.wait(job.id).best
    print(f"{name}: NRMSE {best.value:.4f} (predicting the mean: {best.baseline:.4f})")
