"""The statistics of a comparison: counts in, distances and p-values out, over any number of windows at once.

`counts` has shape (..., bins), a reference (bins,); results have the leading shape. A window without rows has distance
0 and p-value 1: nothing was seen. Both samples are taken as samples, so that a small reference widens every test.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov, ndtr, ndtri

Floats = NDArray[np.float64]
RARE = 5.0
"""Bins that the reference fills less often are tested together: chi-square is no good for them."""


def hellinger(counts: Floats, reference: Floats) -> Floats:
    """Hellinger distance, 0 to 1."""
    shares, _ = _shares(counts)
    expected, _ = _shares(reference)
    affinity = np.sqrt(shares * expected).sum(axis=-1)
    return np.where(counts.sum(axis=-1) > 0, np.sqrt(np.clip(1 - affinity, 0, 1)), 0.0)


def psi(counts: Floats, reference: Floats) -> Floats:
    """Population stability index, half a row added to each bin so that an empty one is no infinity."""
    shares, _ = _shares(counts + 0.5)
    expected, _ = _shares(reference + 0.5)
    return np.where(counts.sum(axis=-1) > 0, ((shares - expected) * np.log(shares / expected)).sum(axis=-1), 0.0)


def kolmogorov_smirnov(counts: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Largest distance of the distribution functions at the bins' edges, and its p-value (too large, if anything)."""
    shares, rows = _shares(counts)
    expected, known = _shares(reference)
    distance = np.abs(np.cumsum(shares - expected, axis=-1)).max(axis=-1)
    distance = np.where(rows > 0, distance, 0.0)
    size = np.sqrt(effective_rows(rows, known))
    return distance, kolmogorov((size + 0.12 + 0.11 / np.maximum(size, 1e-9)) * distance)


def chi_square(counts: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Chi-square of homogeneity of the two samples, and its p-value."""
    rare = reference < RARE
    seen = _pooled(counts, rare)
    known = _pooled(reference, rare)
    n, m = seen.sum(axis=-1, keepdims=True), known.sum(axis=-1, keepdims=True)
    ratio = np.sqrt(np.maximum(n, 1) / np.maximum(m, 1))
    both = seen + known
    parts = np.divide((seen / ratio - known * ratio) ** 2, both, out=np.zeros_like(both), where=both > 0)
    statistic = np.where(n[..., 0] > 0, parts.sum(axis=-1), 0.0)
    freedom = (both > 0).sum(axis=-1) - 1
    return statistic, np.where((freedom > 0) & (n[..., 0] > 0), chdtrc(np.maximum(freedom, 1), statistic), 1.0)


def share_rise(hits: Floats, rows: Floats, known_hits: Floats, known_rows: Floats) -> tuple[Floats, Floats]:
    """How far a share rose above the reference's, and the one-sided p-value."""
    expected, spread = _share_spread(rows, known_hits, known_rows)
    rise = np.where(rows > 0, hits / np.maximum(rows, 1) - expected, 0.0)
    return np.maximum(rise, 0.0), np.where(rows > 0, ndtr(-rise / spread), 1.0)


def share_quantile(rows: Floats, known_hits: Floats, known_rows: Floats, probability: float) -> Floats:
    """The rise that chance alone exceeds with `probability`."""
    return np.asarray(-ndtri(probability) * _share_spread(rows, known_hits, known_rows)[1])


def missed_share(levels: int, known_rows: float, probability: float) -> float:
    """The share of a level that a reference of so many rows misses with this `probability`, out of so many levels."""
    return min(float(np.log(max(levels, 1) / probability)) / max(known_rows, 1.0), 1.0)


def discoveries(p_values: Floats, rate: float) -> NDArray[np.bool_]:
    """Benjamini and Hochberg's choice along the last axis: of those chosen, at most `rate` are false on average."""
    tests = p_values.shape[-1]
    order = np.sort(p_values, axis=-1)
    passing = order <= rate * np.arange(1, tests + 1) / tests
    limit = np.where(passing, order, -1.0).max(axis=-1, keepdims=True, initial=-1.0)
    return np.asarray(p_values <= limit)


def effective_rows(rows: Floats, known: Floats) -> Floats:
    """Size of one sample that is as uncertain as the two together."""
    return np.where(rows + known > 0, rows * known / np.maximum(rows + known, 1), 0.0)


def _shares(counts: Floats) -> tuple[Floats, Floats]:
    rows = counts.sum(axis=-1)
    return counts / np.maximum(rows, 1e-9)[..., np.newaxis], rows


def _pooled(counts: Floats, rare: NDArray[np.bool_]) -> Floats:
    together = counts[..., rare].sum(axis=-1, keepdims=True)
    return np.concatenate([counts[..., ~rare], together], axis=-1)


def _share_spread(rows: Floats, known_hits: Floats, known_rows: Floats) -> tuple[Floats, Floats]:
    # Half a hit more, so that a share never seen in a small reference is not taken to be impossible.
    expected = (known_hits + 0.5) / (known_rows + 1)
    return expected, np.sqrt(expected * (1 - expected) * (1 / np.maximum(rows, 1) + 1 / (known_rows + 2)))
