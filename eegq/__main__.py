"""`python -m eegq` is the `eegq` command."""

from eegq.cli import app

if __name__ == "__main__":
    app(prog_name="eegq")
