"""The language that service and worker share: specs, jobs, faults, decisions and the store that keeps them.

Knows neither of them, and no engine library (torch, mne, braindecode).
"""
