"""Devices: what a failure means (classify, no torch), and whether a device computes rightly (health)."""
