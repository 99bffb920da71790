"""Check a product before anything trains: product.yaml, policy.yaml, the table, and the model in service.

All of the data's mistakes are listed, warnings apart from errors. Exit 0 no rule is broken, 1 product.yaml or
policy.yaml breaks one, 65 the data breaks one, 75 the data cannot be had now.
"""

from collections import Counter
from pathlib import Path

import msgspec

from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.exit_statuses import BAD_DATA, REFUSED
from beacon_core.domain.product import Product
from beacon_core.domain.schema import Change, Schema, changes
from beacon_core.model_package.manifest import PackageError
from beacon_core.model_package.release import ReleaseError, package_folder, read_release
from beacon_core.model_package.signature import read_trusted, trust_of
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_core.platform.training_code import TrainingCodeError
from beacon_retraining.data.row_counts import unlabelled_text

PRODUCT_FILE = "product.yaml"
MEANINGS = {
    "compatible": "holds at once; the model in service goes on",
    "follows": "the next trained model has it; the model in service goes on",
    "breaking": "needs a new schema_version; a person approves the new model",
}
MOST_WARNINGS = 20


class CheckResult(msgspec.Struct, frozen=True):
    """What is wrong with a product."""

    product: str
    """The product's name."""
    file: str
    """Its product.yaml."""
    errors: list[str]
    """Each with the file, the key or column, and the rule; none is broken where it is empty."""
    warnings: list[str]
    """What is odd and no error."""
    rows: int | None
    """Rows of the table; null where it was not read."""


def main(settings: Settings) -> int:
    """Check the product that the argument names, else the one of BEACON_PRODUCT."""
    parser = CommandParser(description=__doc__)
    parser.add_argument(
        "product", nargs="?", type=Path, metavar="PRODUCT", help="a folder with product.yaml, or that file"
    )
    parser.add_argument("--spec", action="store_true", help="the two files alone, without the data")
    given = parser.parse_args()
    product = load_product(product_file(given.product or settings.product))
    _print_spec(product)
    broken = [text for text in (_check_schema(settings, product), _check_entry_point(product)) if text]
    if given.spec:
        results.give(CheckResult(product.name, str(product.file), broken, [], None))
        return REFUSED if broken else 0
    return _check_data(product, broken)


def product_file(path: Path) -> Path:
    """product.yaml, where its folder is named; raises `ConfigurationError` where there is neither."""
    file = path / PRODUCT_FILE if path.is_dir() else path
    if not file.is_file():
        raise ConfigurationError(f"{path}: is neither a product.yaml nor a folder with one; `beacon new` writes it")
    return file


def _print_spec(product: Product) -> None:
    kinds = Counter(feature.type for feature in product.features)
    shown = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    derived = f", {len(product.derived)} derived" if product.derived else ""
    entity = "none" if product.entity is None else f"{product.entity.name} ({', '.join(product.keys)})"
    results.say(f"{product.file}: {product.name}, schema version {product.schema_version}")
    results.say(f"  features  {len(product.features)} ({shown}{derived}), at least {product.min_features} of a row")
    results.say(f"  target    {product.target.name}{f' in {product.target.unit}' if product.target.unit else ''}")
    results.say(f"  entity    {entity}; rows are held out by {product.time.split}")
    results.say(f"  segments  {', '.join(product.segments) or 'none'}")


def _check_schema(settings: Settings, product: Product) -> str:
    """Show what changed since the model in service was trained; the error of a breaking change without a new number."""
    schema = _schema_in_service(settings, product)
    if schema is None:
        return ""
    found = changes(schema, product.schema)
    if not found:
        results.say("  schema    as the model in service has it")
        return ""
    results.say(f"  schema    {len(found)} changes since the model in service was trained")
    for change in found:
        results.say(f"    {change.kind:<10} {change.key}: {change.text}; {MEANINGS[change.kind]}")
    return _lacks_number(found, schema, product)


def _lacks_number(found: list[Change], schema: Schema, product: Product) -> str:
    breaking = any(change.kind == "breaking" for change in found)
    if not breaking or product.schema_version > schema.version:
        return ""
    rule = f"must be above {schema.version}: a change is breaking (docs/explanation/schema-changes.md)"
    return _error(f"{product.file}: schema_version: {rule}, is {product.schema_version}")


def _error(text: str) -> str:
    results.say(f"  error     {text}")
    return text


def _check_entry_point(product: Product) -> str:
    """Import the owner's training code and build its estimator; the rule that it breaks."""
    if product.training.entry_point is None:
        return ""
    from beacon_retraining.training.entry_point.code import entry_point_of  # noqa: PLC0415 - scikit-learn takes seconds
    from beacon_retraining.training.entry_point.errors import EntryPointError  # noqa: PLC0415
    from beacon_retraining.training.entry_point.probe import try_code  # noqa: PLC0415

    try:
        code = entry_point_of(product)
        if code is not None:
            try_code(code, product, 0)
    except (EntryPointError, TrainingCodeError) as error:
        return _error(str(error))
    results.say(f"  training  {product.training.entry_point}, which gives an estimator")
    return ""


def _schema_in_service(settings: Settings, product: Product) -> Schema | None:
    """The schema of the released package; None without one of this product."""
    try:
        pin = read_release(settings.release_file).model
    except ReleaseError:
        results.say("  schema    no model is in service")
        return None
    if pin.name != product.name:
        results.say(f"  schema    the model in service is another product's, {pin.name}")
        return None
    try:
        return read_trusted(package_folder(settings.models_dir, pin), pin.sha256, trust_of(settings)).manifest.schema
    except PackageError as error:
        results.say(f"  schema    the package in service cannot be read: {error}")
        return None


def _check_data(product: Product, broken: list[str]) -> int:
    from beacon_retraining.data.findings import find_all  # noqa: PLC0415 - pandera takes seconds, and spec mistakes come first

    found = find_all(product)
    for line in found.descriptions:
        results.say(f"  source    {line}")
    if found.rows is not None:
        results.say(f"  rows      {found.rows}{unlabelled_text(found.unlabelled)}")
    for column, text in found.warnings[:MOST_WARNINGS]:
        results.say(f"  warning   {column}: {text}")
    if len(found.warnings) > MOST_WARNINGS:
        results.say(f"  warning   {len(found.warnings) - MOST_WARNINGS} more")
    of_data = [_error(str(error)) for error in found.errors]
    errors = len(of_data) + len(broken)
    results.say(
        f"{errors or 'no'} error{'s' * (errors != 1)}, {len(found.warnings)} warning{'s' * (len(found.warnings) != 1)}"
    )
    warnings = [f"{column}: {text}" for column, text in found.warnings]
    results.give(CheckResult(product.name, str(product.file), broken + of_data, warnings, found.rows))
    return BAD_DATA if found.errors else REFUSED if broken else 0


def run() -> int:
    """Check a product and its data before anything trains."""
    return run_command("check", main)
