"""From BIDS folders to batches: the only part of the worker that touches EEG files.

Read in this order:

    recordings   which files a job asks for, their sidecars, subjects and traits
    events       one events.tsv, as it is
    trials       the trial table: stimulus, response and response time of every trial
    windows      WindowIndex: windows as rows (recording, start, target); `gather(rows)` makes a batch
    cutting      where windows start, by braindecode's own functions
    reading      one signal file -> microvolts, with what is wrong with it
    preprocess   the ordered steps of a spec
    store        preprocessed signals on local disk, built once, memory-mapped, shared by all jobs
    builder      the process that reads and preprocesses one recording at a time
    splits       who is trained on and who is validated
    preflight    every check, as findings; `page` draws them
    prepare      all of it in order: spec + sources -> Prepared
    errors       DataError, StorageUnavailable
    simulate/    an HBN-like dataset with a known trace in it, and every known defect

Knows no torch, no queue and no model. Importing it is cheap: mne and braindecode are imported where they are used.
"""
