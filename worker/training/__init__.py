"""The engine, in a process of its own: `python -m worker.training spec.json --device cpu`.

loop      reads top to bottom: a run from its first step to its results
step      the step function (state at k, seed, k) -> state at k+1, the same on every device
state     flat named tensors, restored in place
order     counters: sample order, crops, dropout keys
Knows no queue: it reports through a channel (protocol) and takes orders from it.
"""
