"""The part that every submission carries."""

import torch

from worker.export import kit


def test_volts_and_microvolts_are_told_apart_window_by_window():
    x = torch.randn(3, 129, 200) * 12
    mixed = torch.stack([x[0] * 1e-6, x[1], x[2] * 1e-6])
    torch.testing.assert_close(kit.microvolts(mixed), x, rtol=1e-5, atol=1e-6)


def test_a_window_with_a_large_artefact_is_still_taken_for_volts():
    x = torch.randn(1, 129, 200) * 12e-6
    x[0, 0] = 0.5  # one channel at the amplifier's rail
    torch.testing.assert_close(kit.microvolts(x), x * 1e6)


def test_weights_are_found_in_the_folder_that_has_them(tmp_path, monkeypatch):
    torch.save({"value": torch.tensor(1.5)}, tmp_path / "weights_challenge_1.pt")
    monkeypatch.setattr(kit, "FOLDERS", ("/nowhere", tmp_path))
    model = kit.load(kit.Constant, "weights_challenge_1.pt", torch.device("cpu"))
    assert model(torch.zeros(3, 129, 200)).tolist() == [[1.5], [1.5], [1.5]]
