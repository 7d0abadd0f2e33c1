"""Deployment: what `docker compose up` needs on a machine. Runs on a bare Python; knows no job and no worker."""
