"""The worker: a supervisor that claims jobs (start at attempt) and the engine that trains them.

The supervisor is app, tasks, attempt, lease, watchdog, handoff, reporter, trainer, keeper, reaper.
The engine (training, data, devices, export) runs in processes of its own and knows no queue.
"""
