"""From BIDS folders to batches: the only part of the worker that touches EEG files.

Read in this order:

    prepare      all of it in order: spec + sources -> Prepared
    plan         which recordings, what is done to them, and the key of all that follows
    recordings   files below a BIDS root, their sidecars, subjects and traits
    examine      every recording: built, checked, cut
    building     builder processes, as many as memory allows;  builder: one of them
    reading      one signal file -> microvolts
    preprocess   the ordered steps of a spec
    store        preprocessed signals on local disk, memory-mapped, shared by all jobs;  eviction: its size
    events       one events.tsv, as it is
    trials       the trial table: stimulus, response and response time of every trial
    cutting      where windows start, by braindecode's own functions
    checks       what may be wrong with a recording, as findings
    preflight    what the checks add up to: the verdict and the report;  page: the report as HTML
    splits       who is trained on and who is validated
    assemble     from examined recordings to the two sides
    windows      WindowIndex: windows as rows; `gather(rows)` makes a batch
    prepared     Prepared, and how it is kept for the next job
    errors       DataError, StorageUnavailable
    simulate/    an HBN-like dataset with a known trace in it, and every known defect

Knows no torch, no queue and no model. Importing it is cheap: mne and braindecode are imported where they are used.
"""
