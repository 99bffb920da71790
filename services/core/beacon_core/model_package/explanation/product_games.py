"""Shapley values of product games, exactly: what a leaf of a tree and a point of a Gaussian kernel are.

In such a game each player is in or out, and the value of a coalition is a product of one factor per player:

    value(coalition) = weight x product over players of (present_i if i is in the coalition, else absent_i)

A leaf: `present` is 1 where the row takes the leaf's branches on the player's columns, else 0; `absent` is the share of
the training rows that take them. So the sum over all leaves is path-dependent tree SHAP (Lundberg et al., Nature
Machine Intelligence 2, 2020), one game per path as in GPUTreeShap (Mitchell et al., PeerJ Computer Science 8, 2022).
A point of a kernel: `present` is the kernel of the row and the point in the player's columns, `absent` its mean over
the training rows.

The Shapley value is the integral of the multilinear extension's derivative along the diagonal (Owen 1972):

    phi_i = weight x integral over t from 0 to 1 of (present_i - absent_i) product over k != i of
            (absent_k + t (present_k - absent_k))

The integrand is a polynomial of degree n - 1 for n players: Gauss-Legendre's rule with n / 2 nodes is exact for it, in
a time that grows with n^2 and not with 2^n, and its terms are all of one sign, so that nothing cancels.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

SMALLEST_FACTOR = 1e-100
"""A factor of 0 is taken as this: the product without one player is the product of all by its factor."""


def product_game_values(present: Matrix, absent: Matrix, weight: Matrix) -> Matrix:
    """The Shapley values (players, games) of games whose factors are (players, games) and `weight` (games,)."""
    change = present - absent
    values = np.zeros_like(change)
    factor = np.empty_like(change)
    for node, share in _nodes(len(change)):
        np.multiply(change, node, out=factor)
        factor += absent
        np.maximum(factor, SMALLEST_FACTOR, out=factor)
        whole = np.multiply.reduce(factor, axis=0)
        whole *= share * weight
        np.divide(whole, factor, out=factor)
        values += factor
    values *= change
    return values


@lru_cache(maxsize=256)
def _nodes(players: int) -> tuple[tuple[float, float], ...]:
    """Nodes and weights on 0 to 1 that integrate polynomials of degree `players` - 1 exactly."""
    nodes, weights = np.polynomial.legendre.leggauss(max(1, -(-players // 2)))
    return tuple(zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))
