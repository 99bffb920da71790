"""The training code of a product: read from its folder, named by a digest in the recipes of its models."""

import hashlib

import msgspec

from beacon_core.domain.product import Product
from beacon_core.model_package.recipe import EntryPoint, Recipe
from beacon_core.platform.training_code import code_files
from beacon_retraining.training.libraries import versions_of


class TrainingCode(EntryPoint, frozen=True, forbid_unknown_fields=True):
    """An entry point with its code, as a run begins with it: texts by path. Each step may take `most_seconds`.

    Only a recipe that has it can be fitted. It comes from the product's folder alone, and goes into no package.
    """

    files: dict[str, str]
    most_seconds: float


def entry_point_of(product: Product) -> TrainingCode | None:
    """Read the code that training.entry_point names; None without one. Raises `TrainingCodeError`."""
    training = product.training
    if training.entry_point is None:
        return None
    return training_code(training.entry_point, code_files(product.file), training.most_fit_seconds)


def training_code(function: str, files: dict[str, str], most_seconds: float) -> TrainingCode:
    """The code of these files."""
    sha256 = hashlib.sha256(msgspec.json.encode(files, order="deterministic")).hexdigest()
    return TrainingCode(function, sha256, files, most_seconds)


def with_code(recipe: Recipe, code: TrainingCode | None) -> Recipe | None:
    """The recipe ready to be fitted; None where it names another function, or other code, than `code`."""
    named = recipe.entry_point
    if named is None:
        return recipe
    if code is None or (named.function, named.sha256) != (code.function, code.sha256):
        return None
    return msgspec.structs.replace(recipe, entry_point=code)


def without_code(recipe: Recipe) -> Recipe:
    """The recipe as a package has it."""
    if recipe.entry_point is None:
        return recipe
    named = EntryPoint(recipe.entry_point.function, recipe.entry_point.sha256)
    return msgspec.structs.replace(recipe, entry_point=named)


def digest_of(code: TrainingCode) -> str:
    """sha256 over the code and the versions of the libraries that it imports."""
    facts = msgspec.json.encode([code, versions_of(code.files)], order="deterministic")
    return hashlib.sha256(facts).hexdigest()
