"""Blending: a weighted mean of few recipes, chosen greedily on held-out predictions (Caruana et al., 2004).

Members share one scale and one encoding, so that the graph has one node of trees and encodes categories once. Serving
pays for each tree and each row of a kernel: `MOST_MEMBERS` and `MOST_TREES` keep a row fast.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from beacon_core.model_package.recipe import Member, Recipe
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.training.cost import TREE_COUNTS
from beacon_retraining.training.families import FAMILIES, Metric
from beacon_retraining.training.selection import error_of

MOST_MEMBERS = 4
MOST_TREES = 1200
"""Of all members together."""
ROUNDS = 20
"""Each adds one member, or a member again: weights are shares of so many."""
CONSIDERED = 30
"""The best recipes of a group; more would only take longer."""


def blend_of(
    held_out: Iterable[tuple[Recipe, Matrix]],
    target: Matrix,
    weights: Matrix,
    metric: Metric,
    is_affordable: Callable[[Recipe], bool],
) -> Recipe | None:
    """The best affordable blend of recipes by their held-out predictions (rows,); None where no two go together."""
    groups: dict[tuple[str, int], list[tuple[Recipe, Matrix]]] = {}
    for recipe, predictions in held_out:
        groups.setdefault((recipe.scale, recipe.most_onehot), []).append((recipe, predictions))
    blends = [
        found
        for group in groups.values()
        if len(group) > 1 and (found := _greedy(group, target, weights, metric, is_affordable)) is not None
    ]
    return min(blends, key=lambda blend: blend[1])[0] if blends else None


def blended(recipe: Recipe, members: list[Matrix]) -> Matrix:
    """A blend's predictions from its members' (any equal shapes): the mean on the scale that they predict on."""
    pairs = list(zip(recipe.members, members, strict=True))
    if recipe.scale == "none":
        return np.asarray(sum(member.weight * own for member, own in pairs))
    return np.asarray(np.exp(sum(member.weight * np.log(own) for member, own in pairs)))


def members_of(blend: Recipe) -> tuple[Recipe, ...]:
    """The recipes that a blend is made of, each alone."""
    alone = (msgspec.structs.replace(member, weight=1.0) for member in blend.members)
    return tuple(msgspec.structs.replace(blend, members=(member,)) for member in alone)


def tree_count(member: Member) -> int:
    """How many trees a member has."""
    own = FAMILIES[member.family].defaults | member.parameters
    return next((int(own[name]) for name in TREE_COUNTS if name in own), 0)


def _greedy(
    group: list[tuple[Recipe, Matrix]],
    target: Matrix,
    weights: Matrix,
    metric: Metric,
    is_affordable: Callable[[Recipe], bool],
) -> tuple[Recipe, float] | None:
    """Add, with replacement, what lowers the error most; the blend and its error, None where one member is best."""
    scale = group[0][0].scale
    ranked = sorted(group, key=lambda pair: error_of(target - pair[1], weights, metric))[:CONSIDERED]
    table = np.array([own if scale == "none" else np.log(own) for _, own in ranked])
    recipes = [recipe for recipe, _ in ranked]
    chosen: Counter[int] = Counter()
    total = np.zeros(len(target))
    for size in range(1, ROUNDS + 1):
        errors = {}
        for at in range(len(recipes)):
            if at in chosen or _has_room(chosen, at, recipes, is_affordable):
                mean = (total + table[at]) / size
                errors[at] = error_of(target - (mean if scale == "none" else np.exp(mean)), weights, metric)
        if not errors:
            return None
        best = min(errors, key=lambda at: errors[at])
        chosen[best] += 1
        total += table[best]
    if len(chosen) < 2:
        return None
    members = tuple(
        msgspec.structs.replace(recipes[at].members[0], weight=count / ROUNDS) for at, count in sorted(chosen.items())
    )
    return msgspec.structs.replace(recipes[0], members=members), errors[best]


def _has_room(chosen: Counter[int], at: int, recipes: list[Recipe], is_affordable: Callable[[Recipe], bool]) -> bool:
    members = tuple(recipes[one].members[0] for one in (*chosen, at))
    if len(members) > MOST_MEMBERS or sum(map(tree_count, members)) > MOST_TREES:
        return False
    return is_affordable(msgspec.structs.replace(recipes[at], members=members))
