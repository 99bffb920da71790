"""Recipes: which ones a table is tried with first, and how one becomes a regressor."""

from beacon_core.domain.derived import part_columns
from beacon_core.domain.product_entry import MODEL_NAMES
from beacon_core.model_package.recipe import Direction, Member, Recipe
from beacon_retraining.data.dataset import Dataset
from beacon_retraining.training.columns import columns_of
from beacon_retraining.training.encoder import ColumnEncoder, ColumnLayout, layout_of
from beacon_retraining.training.entry_point.code import TrainingCode
from beacon_retraining.training.entry_point.model import EntryPointModel
from beacon_retraining.training.estimators import Blend, TableModel
from beacon_retraining.training.families import FAMILIES, Family, Monotone
from beacon_retraining.training.target_scale import first_scale, fits_scale

BLEND = "blend"
SIGNS = {"up": 1, "down": -1}


def recipe_for(name: str, dataset: Dataset, monotone: dict[str, Direction] | None = None) -> Recipe:
    """The recipe that a family is tried with first on this table."""
    family = FAMILIES[name]
    return Recipe(
        (Member(name, family.defaults),),
        first_scale(dataset, is_linear=family.is_linear),
        monotone=monotone or {},
    )


def recipe_of(entry_point: TrainingCode) -> Recipe:
    """The recipe of training code, with the code: the target and the columns are left as they are."""
    return Recipe((), entry_point=entry_point)


def offered(names: tuple[str, ...], dataset: Dataset, monotone: dict[str, Direction]) -> tuple[Family, ...]:
    """The named families that this table can be tried with, from simple to complex.

    Where features are monotone, those that can hold it; boosting over bins is then for fewer rows, too.
    """
    rows = len(dataset.target)
    return tuple(
        family
        for name, family in FAMILIES.items()
        if name in names and family.can_fit(rows) and (family.is_constrained if monotone else rows >= family.min_rows)
    )


def name_of(recipe: Recipe) -> str:
    """What a model of this recipe is called: its family, a blend, or its entry point."""
    if recipe.entry_point is not None:
        return f"entry point {recipe.entry_point.function}"
    return recipe.members[0].family if len(recipe.members) == 1 else BLEND


def complexity(recipe: Recipe) -> int:
    """Its place in the order from simple to complex."""
    names: tuple[str, ...] = MODEL_NAMES
    return len(names) if recipe.entry_point is not None else names.index(name_of(recipe))


def can_refit(recipe: Recipe, dataset: Dataset) -> bool:
    """Whether the recipe can be fitted to these rows."""
    return fits_scale(recipe.scale, dataset.target) and all(
        member.family in FAMILIES and FAMILIES[member.family].can_fit(len(dataset.target)) for member in recipe.members
    )


def build(recipe: Recipe, dataset: Dataset, seed: int) -> TableModel | EntryPointModel:
    """The unfitted model for a dataset of these columns; raises `EncodingError`, `EntryPointError`."""
    if recipe.entry_point is not None:
        if not isinstance(recipe.entry_point, TrainingCode):
            raise ValueError(f"{recipe.entry_point.function}: the recipe names code, and does not have it")
        columns = columns_of(dataset.schema, dataset.levels)
        return EntryPointModel(recipe.entry_point, columns, dataset.schema.target.name, seed)
    layout = layout_of(dataset, recipe.most_onehot)
    monotone = _constraints(recipe, dataset, layout)
    parts = [
        (FAMILIES[member.family].make(member.parameters, seed, monotone), member.weight) for member in recipe.members
    ]
    regressor = parts[0][0] if len(parts) == 1 else Blend(parts)
    return TableModel(regressor, ColumnEncoder(layout, seed) if layout.has_categories else None, recipe.scale)


def _constraints(recipe: Recipe, dataset: Dataset, layout: ColumnLayout) -> Monotone:
    """The sign of each encoded column; None without monotone features."""
    if not recipe.monotone:
        return None
    signs: dict[int, int] = {}
    place = 0
    for feature in dataset.schema.features:
        if feature.name in recipe.monotone:
            signs[place] = SIGNS[recipe.monotone[feature.name]]
        place += len(part_columns(feature.name, feature.parts)) if feature.parts else 1
    encoded = sum(len(column.values) for column in layout.onehot) + len(layout.target)
    return (*(signs.get(place, 0) for place in layout.as_is), *(0 for _ in range(encoded)))
