"""The statistics of a comparison: counts in, distances and p-values out, over any number of windows at once.

`counts` has shape (..., bins), a reference (bins,); results have the leading shape. A window without rows has distance
0 and p-value 1: nothing was seen. Both samples are taken as samples, so that a small reference widens every test.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov, ndtr, ndtri, xlogy

Floats = NDArray[np.float64]
RARE = 5.0
"""Bins in which the reference is expected to have fewer rows are tested together (Cochran's rule)."""
MONTH_HOURS = 30 * 24
TAIL = 5.0
"""Standard deviations at which `looks` is taken: about where the p-values of alarms lie."""


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


def rank_sum(counts: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Mann-Whitney's test of a shift over rising bins: the score in standard deviations, and its two-sided p-value."""
    both = counts + reference
    rows, known = counts.sum(axis=-1), reference.sum(axis=-1)
    total = rows + known
    ranks = np.cumsum(both, axis=-1) - both / 2
    surplus = (counts * ranks).sum(axis=-1) - rows * total / 2
    ties = (both**3).sum(axis=-1) / np.maximum(total, 1) ** 3
    spread = np.sqrt(rows * known * total / 12 * np.maximum(1 - ties, 0))
    score = np.divide(surplus, spread, out=np.zeros_like(surplus), where=spread > 0)
    return score, 2 * ndtr(-np.abs(score))


def homogeneity(counts: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """G-test (likelihood ratio) of two samples of levels, and its p-value.

    Which bins are rare is decided by both samples together: decided by the reference alone, it would pick the bins that
    the reference has too few of by chance, and find them fuller later.
    """
    both = counts + reference
    n, m = counts.sum(axis=-1, keepdims=True), reference.sum(axis=-1, keepdims=True)
    rare = both * (m / np.maximum(n + m, 1)) < RARE
    seen, known = _pooled(counts, rare), _pooled(reference, rare)
    parts = _likelihood(seen, n) + _likelihood(known, m) - _likelihood(seen + known, n + m)
    statistic = np.maximum(2 * parts.sum(axis=-1), 0.0)
    freedom = (seen + known > 0).sum(axis=-1) - 1
    return statistic, np.where((freedom > 0) & (n[..., 0] > 0), chdtrc(np.maximum(freedom, 1), statistic), 1.0)


def largest_change(counts: Floats, reference: Floats) -> Floats:
    """The p-value of the one level whose share changed most, for as many levels as there are (Bonferroni).

    A shift to one rare level of many is lost in a test of all levels together.
    """
    n, m = counts.sum(axis=-1, keepdims=True), reference.sum(axis=-1, keepdims=True)
    levels = max(int(np.count_nonzero(reference)), 1)
    score = np.abs(_share_score(counts, n, reference, m)).max(axis=-1, initial=0.0)
    return np.asarray(np.minimum(2 * levels * ndtr(-score), 1.0))


def share_rise(hits: Floats, rows: Floats, known_hits: Floats, known_rows: Floats) -> tuple[Floats, Floats]:
    """How far a share rose above the reference's, and the one-sided p-value (likelihood ratio)."""
    rise = np.where(rows > 0, hits / np.maximum(rows, 1) - known_hits / np.maximum(known_rows, 1), 0.0)
    p_value = ndtr(-_share_score(hits, rows, known_hits, known_rows))
    return np.maximum(rise, 0.0), np.where(rows > 0, p_value, 1.0)


def unseen_share(levels: int, once: int, twice: int, known_rows: float, probability: float) -> float:
    """The share of levels that a reference of so many rows misses, exceeded with this `probability`.

    Good and Turing: as many rows as there are levels that the reference has `once`, give or take its own error; and one
    level that is missed although it is not rare, out of so many.
    """
    singles = once - float(ndtri(probability)) * np.sqrt(once + 2 * twice)
    missed = singles + np.log(max(levels, 1) / probability)
    return min(float(missed) / max(known_rows, 1.0), 1.0)


def chance_distance(reference: Floats, rows: Floats) -> Floats:
    """The squared Hellinger distance that two samples of one distribution have on average."""
    freedom = max(int(np.count_nonzero(reference)) - 1, 0)
    size = effective_rows(rows, reference.sum(axis=-1))
    return np.minimum(freedom / (8 * np.maximum(size, 1e-9)), 1.0)


def looks(days: float, fresh: Floats) -> Floats:
    """As how many independent looks the hourly looks of 30 days on a window of so many days count.

    Looks on windows that overlap are alike: Siegmund's approximation for the largest of a moving sum, at `TAIL`. Of the
    noise of a comparison the reference's part is the same in all of them: only the rest, `fresh`, is drawn anew.
    """
    hours = days * 24
    within = TAIL**2 * float(np.exp(-0.583 * TAIL * np.sqrt(2 / hours)))
    return 1 + max((MONTH_HOURS - hours) / hours, 1.0) * within * fresh


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
    together = np.where(rare, counts, 0.0).sum(axis=-1, keepdims=True)
    return np.concatenate([np.where(rare, 0.0, counts), together], axis=-1)


def _likelihood(hits: Floats, rows: Floats) -> Floats:
    """The logarithm of the likelihood that hits of so many rows have at their own share."""
    return np.asarray(xlogy(hits, hits / np.maximum(rows, 1e-9)))


def _share_score(hits: Floats, rows: Floats, known_hits: Floats, known_rows: Floats) -> Floats:
    """How far a share is above the reference's, in standard deviations: the signed root of the likelihood ratio.

    Unlike the difference divided by its spread, it holds in the tail and for few hits. The half is the continuity
    correction.
    """
    both, total = hits + known_hits, np.maximum(rows + known_rows, 1)
    surplus = hits - both * rows / total
    half = np.sign(surplus) * np.minimum(np.abs(surplus), 0.5)
    hits, known_hits = hits - half, known_hits + half
    misses, known_misses = np.maximum(rows - hits, 0.0), np.maximum(known_rows - known_hits, 0.0)
    parts = _likelihood(hits, rows) + _likelihood(misses, rows)
    parts = parts + _likelihood(known_hits, known_rows) + _likelihood(known_misses, known_rows)
    parts = parts - _likelihood(both, total) - _likelihood(total - both, total)
    return np.asarray(np.sign(surplus) * np.sqrt(np.maximum(2 * parts, 0.0)))
