"""`python -m service.rebuild`: puts every job of the runs folder back into a store that lost it, and says how many.

Jobs that the store knows are left alone, so it may be run at any time, and again. Knows no worker.
"""

import json
import sys
from pathlib import Path

from jobs.connection import connect, with_credentials
from jobs.restore import Restore
from jobs.store import JobStore
from service.runs import Runs
from service.settings import Settings


def rebuild(runs: Path, restore: Restore) -> list[str]:
    """The ids put back, oldest first."""
    records = [json.loads(path.read_text()) for path in runs.glob("job_*/job.json")]
    files = Runs(runs)
    return [
        record["id"]
        for record in sorted(records, key=lambda record: record["created_at"])
        if restore.job(record, files.rows(record["id"], "events.jsonl"), files.rows(record["id"], "ledger.jsonl"))
    ]


def main() -> None:
    settings = Settings()
    client = connect(with_credentials(settings.redis_url, settings.redis_username, settings.redis_password_file))
    JobStore(client).open()
    print(f"{len(rebuild(settings.runs, Restore(client)))} jobs put back", file=sys.stderr)


if __name__ == "__main__":
    main()
