"""Devices: what a failure means, whether a device computes rightly, and what it reads. Knows no store and no job.

A supervisor asks (probe, classify, readings, kernel_log, bootrecord: no torch); a process of its own tests (suite).
"""
