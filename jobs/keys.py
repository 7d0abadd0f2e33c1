"""Every Redis key: type, owner, lifetime. The Lua scripts build the same names from the same prefix.

key                      type    holds                                                        lives
schema                   string  version of this layout                                       for ever
job:{id}                 hash    the job (fields: jobs/store.py)                              until deleted
job:{id}:attempts        list    one JSON object an attempt                                   until deleted
job:{id}:events          stream  what happened, capped at 10,000                              7 days past the end
job:{id}:ledger          list    runs of steps: who computed them                             7 days past the end
job:{id}:alerts          hash    one JSON object a delivery: what is told, and how it went     7 days past the last
events                   stream  (job, type) of every job, capped at 10,000                   for ever
jobs                     zset    every job id by creation time (ms)                           for ever
jobs:{state}             zset    the same, by state                                           for ever
pending:{pool}:{owner}   zset    queued job ids by (priority, first submit); pool: gpu cpu auto  while not empty
owners:{pool}            zset    owners with pending jobs, by when they were last served (ms)   while not empty
delayed                  zset    queued job ids in backoff, by when they may run (ms)         while not empty
leases                   zset    running job ids by lease expiry (ms)                         while not empty
active:{owner}           set     queued and running job ids                                   while not empty
running:{owner}          set     running job ids                                              while not empty
busy:{pool}              set     running job ids                                              while not empty
idem:{owner}:{key}       string  "job id, digest of the body"                                 72 h
workers:{pool}           zset    worker names by expiry of their beat (ms), ready ones only   while not empty
worker:{name}            hash    what a worker says of itself                                 60 s past its last beat
devices                  set     ids of devices ever seen                                     for ever
device:{id}              hash    DeviceHealth and the last tests                              for ever
ticket:{id}              hash    a batch's or an audit's ticket: state and answer             1 h
tickets                  zset    ids of unanswered tickets by deadline (ms)                   1 h
alerts                   zset    deliveries by when they are to be tried (ms)                  while not empty
alert_secrets            hash    owner -> what signs this owner's alerts                      for ever
datasets                 hash    registered name -> JSON list of sources                      for ever
errand:{kind}:{id}       hash    a submission.zip or a dataset's preflight: state, report     30 days
counts:{what}            hash    totals for Prometheus: steps, requeues, alerts                for ever
unfiled                  set     ended job ids whose run folder does not say so yet            while not empty
reaper                   string  when a reaper last ran (ms)                                  for ever
"""

PREFIX = "eegq:"
CELERY_PREFIX = "bq:"
SCHEMA = 1

SCHEMA_KEY = PREFIX + "schema"
ALL_JOBS = PREFIX + "jobs"
ALL_EVENTS = PREFIX + "events"
DEVICES = PREFIX + "devices"
DATASETS = PREFIX + "datasets"
ALERT_SECRETS = PREFIX + "alert_secrets"
LEASES = PREFIX + "leases"
UNFILED = PREFIX + "unfiled"
STEP_COUNTS = PREFIX + "counts:steps"
REQUEUE_COUNTS = PREFIX + "counts:requeues"
ALERT_COUNTS = PREFIX + "counts:alerts"


def job(job_id: str) -> str:
    return f"{PREFIX}job:{job_id}"


def attempts(job_id: str) -> str:
    return f"{PREFIX}job:{job_id}:attempts"


def events(job_id: str) -> str:
    return f"{PREFIX}job:{job_id}:events"


def ledger(job_id: str) -> str:
    return f"{PREFIX}job:{job_id}:ledger"


def alerts(job_id: str) -> str:
    return f"{PREFIX}job:{job_id}:alerts"


def in_state(state: str) -> str:
    return f"{PREFIX}jobs:{state}"


def owners(pool: str) -> str:
    return f"{PREFIX}owners:{pool}"


def pending(pool: str, owner: str) -> str:
    return f"{PREFIX}pending:{pool}:{owner}"


def workers(pool: str) -> str:
    return f"{PREFIX}workers:{pool}"


def worker(name: str) -> str:
    return f"{PREFIX}worker:{name}"


def device(device_id: str) -> str:
    return f"{PREFIX}device:{device_id}"


def ticket(ticket_id: str) -> str:
    return f"{PREFIX}ticket:{ticket_id}"


def errand(kind: str, errand_id: str) -> str:
    return f"{PREFIX}errand:{kind}:{errand_id}"
