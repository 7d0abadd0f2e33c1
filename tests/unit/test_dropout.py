"""Counted dropout: masks follow from the step alone, and models keep their tensors' names."""

import braindecode.models
import numpy as np
import pytest
import torch

from worker.training.dropout import CountedDropout, bind, count_dropout, draws_elsewhere


def model_of(name: str, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(0)
    model = getattr(braindecode.models, name)(n_chans=8, n_outputs=1, n_times=200, sfreq=100)
    count_dropout(model, seed)
    return model


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5])
def test_the_share_of_what_is_dropped_is_p(p):
    dropped = 1 - CountedDropout(p, 123).mask(200_000, torch.device("cpu")).float().mean()
    assert abs(float(dropped) - p) < 0.005


def murmur3(x):
    """The finalizer as its author wrote it (Appleby, 2011), on unsigned numbers."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return x ^ (x >> np.uint32(16))


@pytest.mark.parametrize("step", [0, 7, 2**31, 2**40 + 3])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_mask_is_the_hash_of_layer_step_and_position(p, step):
    layer, n = 0xDEADBEEF, 5000
    dropout = CountedDropout(p, layer)
    dropout.counter.fill_(step)
    key = murmur3(np.array([(step * 0x9E3779B1 + layer) % 2**32], np.uint32))
    expected = murmur3(np.arange(n, dtype=np.uint32) ^ key) >= np.uint32(p * 2**32)
    assert dropout.mask(n, torch.device("cpu")).tolist() == expected.tolist()


def test_steps_and_layers_draw_different_masks():
    dropout = CountedDropout(0.5, 1)
    first = dropout.mask(1000, torch.device("cpu"))
    dropout.counter.add_(1)
    assert not torch.equal(first, dropout.mask(1000, torch.device("cpu")))
    assert not torch.equal(first, CountedDropout(0.5, 2).mask(1000, torch.device("cpu")))


@pytest.mark.parametrize("name", ["EEGNet", "EEGConformer", "EEGNeX"])
def test_a_model_with_counted_dropout_draws_nothing_from_torch(name):
    model = model_of(name)
    assert not draws_elsewhere(model, torch.randn(2, 8, 200))


@pytest.mark.parametrize("name", ["EEGNet", "EEGConformer"])
def test_the_names_of_the_tensors_stay(name):
    plain = getattr(braindecode.models, name)(n_chans=8, n_outputs=1, n_times=200, sfreq=100)
    assert model_of(name).state_dict().keys() == plain.state_dict().keys()


def test_evaluation_is_the_original_forward():
    torch.manual_seed(0)
    plain = braindecode.models.EEGConformer(n_chans=8, n_outputs=1, n_times=200, sfreq=100).eval()
    counted = model_of("EEGConformer").eval()
    counted.load_state_dict(plain.state_dict())
    x = torch.randn(3, 8, 200)
    assert torch.equal(plain(x), counted(x))


def test_counted_attention_without_dropout_is_torchs_attention():
    plain, counted = model_of("EEGConformer"), model_of("EEGConformer")
    for model in (plain, counted):
        for module in model.modules():
            if isinstance(module, CountedDropout):
                module.p = 0.0
    attention = next(m for m in counted.modules() if hasattr(m, "counted_drop"))
    x = torch.randn(2, 5, attention.emb_size)
    counted.train()
    torch.testing.assert_close(attention(x), type(attention).forward(attention.eval(), x))


def test_a_bound_counter_is_shared():
    model, counter = model_of("EEGNet"), torch.tensor(3)
    bind(model, counter)
    assert all(m.counter is counter for m in model.modules() if isinstance(m, CountedDropout))
