# %% [markdown]
# # eegq from Python
# Both challenges at once, a plot of the learning curves, and the zip that the challenge takes.
# Start the service in another terminal first: `make up`. Each `# %%` is a cell in VS Code, Spyder or Jupytext.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt

from eegq import Client

DATASET = os.environ.get("DATASET", "demo")
EPOCHS = int(os.environ.get("EPOCHS", "20"))
OUT = Path(os.environ.get("OUT", "quickstart"))
OUT.mkdir(exist_ok=True)

client = Client()  # finds `make up` in this folder, or what `eegq login` stored
print([dataset["name"] for dataset in client.datasets.list()])

# %% [markdown]
# ## Submit
# Every field of the spec has a default; these two run side by side where there are two free workers.

# %%
jobs = {
    task: client.jobs.create({"task": task, "dataset": DATASET, "training": {"epochs": EPOCHS}})
    for task in ("challenge1", "challenge2")
}

# %% [markdown]
# ## Wait
# `client.jobs.stream(job.id)` would show what happens meanwhile, as `eegq watch` does.

# %%
ended = {task: client.jobs.wait(job.id, timeout_s=3600) for task, job in jobs.items()}
for task, job in ended.items():
    print(f"{task}: NRMSE {job.best.value:.4f}, predicting the mean gives {job.best.baseline:.4f}")

# %% [markdown]
# ## Look
# `metrics` is a pandas DataFrame; `ledger` says which steps ran on which device, and why.

# %%
figure, axes = plt.subplots(1, len(ended), figsize=(10, 3.5), layout="constrained")
for axis, (task, job) in zip(axes, ended.items(), strict=True):
    metrics = client.jobs.metrics(job.id)
    axis.plot(metrics["epoch"], metrics["val_nrmse"], marker=".", label=job.spec["model"]["name"])
    axis.axhline(job.best.baseline, color="grey", linestyle="--", label="training mean")
    axis.set(title=task, xlabel="epoch", ylabel="validation NRMSE")
    axis.legend()
figure.savefig(OUT / "learning_curves.png")

for task, job in ended.items():
    print(task, client.jobs.steps_by_device(job.id))

# %% [markdown]
# ## Submit to the challenge
# Built by a worker, and tried out in a clean process before it is offered.

# %%
submission = client.submissions.create(challenge1=ended["challenge1"].id, challenge2=ended["challenge2"].id)
print(client.submissions.download(submission["id"], OUT / "submission.zip"))
