"""A batch that never fits: what is said of it."""

from worker.training.fit import Memory, advice, tried_bytes

GIB = 2**30
TEXT = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 5.98 GiB of which 1.10 GiB is free."
)


def test_a_batch_that_fits_is_named():
    memory = Memory(at_rest=1 * GIB, peak=5 * GIB, has=6 * GIB)
    assert advice(TEXT, 128, memory) == "a batch of 128 needs 8.1 GB, 6.4 GB can be had: try training.batch_size 88"


def test_without_numbers_of_the_device_the_allocators_own_is_said():
    assert "needs 2.7 GB more than there is" in advice(TEXT, 128, None)


def test_what_was_tried_is_read_in_every_unit():
    assert tried_bytes("HIP out of memory. Tried to allocate 20.00 MiB.") == 20 * 2**20
    assert tried_bytes("out of memory") == 0
