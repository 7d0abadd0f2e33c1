"""Real-looking EEG: 1/f background, alpha, blinks and muscle, with a trace of known strength in it.

Knows no files. One recording is a pure function of its own seed, whatever else is simulated beside it.
"""

from dataclasses import dataclass

import numpy as np

N_SOURCES = 24
BACKGROUND_UV = 12.0  # standard deviation of the 1/f background at a typical channel
ALPHA_UV = 10.0
BAND_HZ = (0.5, 50.0)  # as the challenge's releases are filtered
RESPONSE_LATENCY_S = 1.1  # the component's peak after the stimulus: inside the window of challenge 1
RESPONSE_WIDTH_S = 0.2
RESPONSE_UV = 16.0


@dataclass(frozen=True)
class Trace:
    """What the signal gives away.

    stimulus_s, response_z: onsets of stimuli and the standardised response time of each; trait_z: the subject's
    standardised trait, None where it leaves no trace; effect: 0 leaves no trace at all.
    """

    stimulus_s: np.ndarray
    response_z: np.ndarray
    trait_z: float | None
    effect: float


def simulate_eeg(n_chans: int, n_times: int, sfreq: float, trace: Trace, seed: tuple[int, ...]) -> np.ndarray:
    """(n_chans, n_times) float32 microvolts. The last channel is the reference, hence zero."""
    rng = np.random.default_rng(seed)
    where = _positions(n_chans)
    eeg = _background(rng, where, n_times, sfreq)
    eeg += np.outer(_topography(where, (0, -0.8, 0.5)), _alpha(rng, n_times, sfreq, trace))
    eeg += np.outer(_topography(where, (0, -0.3, 0.9)), _response_component(n_times, sfreq, trace))
    eeg += np.outer(_topography(where, (0, 0.95, 0.1), width=0.5), _blinks(rng, n_times, sfreq))
    _add_muscle(rng, eeg, sfreq)
    return (eeg - eeg[-1]).astype(np.float32)


def _positions(n_chans: int) -> np.ndarray:
    """(n_chans, 3) on the upper part of a unit sphere, evenly spread; the last one is the vertex."""
    i = np.arange(n_chans - 1) + 0.5
    height = 1 - 1.3 * i / max(n_chans - 1, 1)
    angle = np.pi * (1 + 5**0.5) * i
    radius = np.sqrt(1 - height**2)
    return np.vstack([np.column_stack([radius * np.cos(angle), radius * np.sin(angle), height]), [0, 0, 1]])


def _topography(where: np.ndarray, peak: tuple[float, float, float], width: float = 0.7) -> np.ndarray:
    distance = np.linalg.norm(where - np.array(peak) / np.linalg.norm(peak), axis=1)
    return np.exp(-0.5 * (distance / width) ** 2).astype(np.float32)


def _background(rng: np.random.Generator, where: np.ndarray, n_times: int, sfreq: float) -> np.ndarray:
    n_sources = min(N_SOURCES, 2 * len(where))
    directions = rng.standard_normal((n_sources, 3))
    mixing = np.stack([_topography(where, tuple(d), width=0.6) for d in directions], axis=1)
    mixing *= rng.choice([-1, 1], n_sources)
    mixing /= np.sqrt((mixing**2).sum(axis=1).mean())
    sources = BACKGROUND_UV * _pink(rng, n_sources, n_times, sfreq)
    sensor_noise = rng.standard_normal((len(where), n_times), dtype=np.float32)
    return mixing.astype(np.float32) @ sources + sensor_noise


def _pink(rng: np.random.Generator, n: int, n_times: int, sfreq: float) -> np.ndarray:
    """(n, n_times) float32 of unit variance, power falling as 1/f inside the band."""
    frequency = np.fft.rfftfreq(n_times, 1 / sfreq)
    inside = (frequency >= BAND_HZ[0]) & (frequency <= BAND_HZ[1])
    shape = np.where(inside, 1 / np.sqrt(np.maximum(frequency, BAND_HZ[0])), 0)
    spectrum = shape * (rng.standard_normal((n, len(shape))) + 1j * rng.standard_normal((n, len(shape))))
    noise = np.fft.irfft(spectrum, n_times, axis=1)
    return (noise / noise.std(axis=1, keepdims=True)).astype(np.float32)


def _alpha(rng: np.random.Generator, n_times: int, sfreq: float, trace: Trace) -> np.ndarray:
    """A waxing and waning 10 Hz rhythm; its amplitude carries the trait."""
    time_s = np.arange(n_times) / sfreq
    phase = 2 * np.pi * 10 * time_s + np.cumsum(rng.standard_normal(n_times)) * 0.5 / np.sqrt(sfreq)
    envelope = 1 + 0.4 * np.sin(2 * np.pi * 0.1 * time_s + rng.uniform(0, 2 * np.pi))
    strength = 1.0 if trace.trait_z is None else np.exp(0.8 * trace.effect * np.clip(trace.trait_z, -2.5, 2.5))
    return (ALPHA_UV * strength * envelope * np.sin(phase)).astype(np.float32)


def _response_component(n_times: int, sfreq: float, trace: Trace) -> np.ndarray:
    """A positive wave after each stimulus, larger the later the response."""
    wave = np.zeros(n_times, np.float32)
    half = int(3 * RESPONSE_WIDTH_S * sfreq)
    shape = np.exp(-0.5 * (np.arange(-half, half + 1) / (RESPONSE_WIDTH_S * sfreq)) ** 2)
    for stimulus_s, response_z in zip(trace.stimulus_s, trace.response_z, strict=True):
        first = round((stimulus_s + RESPONSE_LATENCY_S) * sfreq) - half
        start, stop = max(first, 0), min(first + len(shape), n_times)
        if start < stop:
            height = trace.effect * RESPONSE_UV * (1 + 0.5 * np.clip(response_z, -2.5, 2.5))
            wave[start:stop] += height * shape[start - first : stop - first]
    return wave


def _blinks(rng: np.random.Generator, n_times: int, sfreq: float) -> np.ndarray:
    impulses = np.zeros(n_times, np.float32)
    impulses[rng.integers(0, n_times, max(1, int(n_times / sfreq / 5)))] = rng.uniform(60, 120)
    shape = np.hanning(max(3, int(0.3 * sfreq)))
    return np.convolve(impulses, shape, mode="same").astype(np.float32)[:n_times]


def _add_muscle(rng: np.random.Generator, eeg: np.ndarray, sfreq: float) -> None:
    """Short bursts of fast noise at a few channels."""
    length = int(0.5 * sfreq)
    for start in rng.integers(0, max(1, eeg.shape[1] - length), max(1, int(eeg.shape[1] / sfreq / 20))):
        channels = rng.integers(0, len(eeg), 5)
        stop = min(start + length, eeg.shape[1])
        eeg[channels, start:stop] += 15 * rng.standard_normal((5, stop - start), dtype=np.float32)
