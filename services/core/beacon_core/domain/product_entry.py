"""The keys of product.yaml, as frozen, typed objects; domain/product.py makes the product of them."""

from typing import Any, Literal, get_args

import msgspec

from beacon_core.domain.source import DataRules
from beacon_core.domain.spec import Spec

NO_ENTITY: Literal["none"] = "none"
NOW = "now"
ModelName = Literal["ridge", "extra-trees", "kernel-ridge", "boosting", "hist-boosting", "xgboost", "blend"]
MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)
"""What a model can be, from simple to complex: a family of regressors, or a blend of several fits."""

FIT_SECONDS = 300.0
FEATURES_TTL_DAYS = 3650
"""How old a feature of the store may be, where product.yaml does not say."""


class Entity(Spec, frozen=True):
    """What a prediction is about: `keys` are the columns of its key, whole numbers of 64 bits (int64) or text.

    `row_number` is for a table without a key of its own: it numbers the rows from 1, so the file must not be sorted
    anew, and rows must not go.
    """

    name: str
    """What the entity is called, such as customer."""
    key: str | tuple[str, ...]
    """Its column, or the list of its columns."""
    type: Literal["int64", "text"] | dict[str, Literal["int64", "text"]] = "int64"
    """Of the key's columns, or of each by its name: int64 or text."""
    row_number: bool = False
    """Number the rows from 1 as the key, for a table without one. Then the file must keep its order."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """The columns of the key, each with its type."""
        kinds = self.type if isinstance(self.type, dict) else {}
        default = self.type if isinstance(self.type, str) else "int64"
        return tuple((key, kinds.get(key, default)) for key in self.keys)


class Times(Spec, frozen=True, kw_only=True):
    """When a row was so, and when it became known: columns of the table.

    Without an `event` column all rows are of one instant before production; `created` is when the row was read, or a
    column. Where a column has no zone, its times are in `zone`. `split` says how rows are held out: by chance, the
    newest, or whole groups of the column `group`.
    """

    event: str | None = None
    """Column of the time at which a row was so; none: an instant before production."""
    created: str = NOW
    """Column of the time at which it became known, or now: when it was read."""
    zone: str = "UTC"
    """Time zone (IANA) of times without one."""
    split: Literal["random", "time", "group"] = "random"
    """How rows are held out: by chance, the newest, or whole groups."""
    group: str | None = None
    """Column whose groups are held out whole; needed for split: group."""


class Target(Spec, frozen=True, kw_only=True):
    """The value that is predicted.

    `valid` is what an actual may be (null: open). Predictions below `low` or above `high` are extreme; without them,
    the package's quantiles of the training target count. `decimals` rounds answers; without it they have as many
    digits as the target's spread needs. `weight` is a column with the rows' weights.
    """

    name: str
    """Column to predict."""
    title: str = ""
    """What it is, for people."""
    unit: str = ""
    """Its unit, shown with every figure."""
    decimals: int | None = None
    """Of answers; null: six significant digits of the target's spread."""
    valid: tuple[float | None, float | None] = (None, None)
    """Range of an actual; null is an open end."""
    low: float | None = None
    """Predictions below it are extreme; null: a quantile of the training."""
    high: float | None = None
    """Predictions above it are extreme; null: a quantile of the training."""
    transform: Literal["auto", "none", "log"] = "auto"
    """Train on the logarithm; auto compares where all values are above 0."""
    weight: str | None = None
    """Column of the rows' weights."""

    @property
    def bounds(self) -> tuple[float, float]:
        """`valid` with infinities where it is open."""
        low, high = self.valid
        return float("-inf") if low is None else low, float("inf") if high is None else high


class Segment(Spec, frozen=True):
    """A slice of the traffic: the values of a feature, or bands between `bounds` of it or of the prediction."""

    of: str
    """A feature, or prediction."""
    bounds: tuple[float, ...] = ()
    """Rising ends of the bands; none for a category or a boolean."""


class Training(Spec, frozen=True):
    """How a model is trained: what its intervals should contain, and how it is searched for.

    The search (docs/explanation/retraining.md) tries each of `models` as it comes, then tunes them. `budget_seconds` is
    turned into a number of trials by a model of their cost, so that equal data give an equal model on any machine;
    `trials` states the number itself. No family gets more than 100 of them.

    With an `entry_point` there is nothing to search for: your function says which estimator is fitted
    (docs/how-to/bring-your-own-model.md).
    """

    interval_coverage: float = 0.9
    """Share of actuals that the interval of an answer should contain."""
    budget_seconds: float = 20
    """For tuning, on two cores; 0 compares the models as they come, and tunes none."""
    metric: Literal["rmse", "mae"] = "rmse"
    """What the search makes small: rmse or mae."""
    models: tuple[ModelName, ...] = MODEL_NAMES
    """What to choose from."""
    trials: int | None = None
    """So many trials, whatever they cost; null: as many as the budget has room for."""
    monotone: dict[str, Literal["up", "down"]] = msgspec.field(default_factory=dict)
    """Measurements that may only raise (up) or lower (down) the prediction, held by the fit itself."""
    entry_point: str | None = None
    """Your own training code: package.module:function in the folder training beside product.yaml. It gives the
    scikit-learn estimator that is fitted; null: Beacon searches."""
    fit_seconds: float | None = None
    """How long one step of the entry point's code, such as a fit, may take; null: 300."""

    @property
    def most_fit_seconds(self) -> float:
        """`fit_seconds` in force."""
        return FIT_SECONDS if self.fit_seconds is None else self.fit_seconds


class ProductEntry(Spec, frozen=True, kw_only=True):
    """product.yaml's top level; features stay raw here so that an error can name the feature."""

    name: str
    """Lower-case letters, digits, - and _. It names the model in every place."""
    title: str = ""
    """For pages and the model card; empty: from the name."""
    schema_version: int = 1
    """It rises with a breaking change alone."""
    source: Any
    """One source or a list of them: of the rows of one key in several sources the newest counts."""
    data: DataRules = DataRules()
    """Limits of the table as a whole."""
    entity: Entity | Literal["none"] = NO_ENTITY
    """What a prediction is about, or none: then feature serving is off."""
    time: Times = Times()
    """When a row was so, and how rows are held out."""
    target: Target
    """What is predicted."""
    features: dict[str, Any]
    """The features by their columns' names."""
    excluded: dict[str, str] = msgspec.field(default_factory=dict)
    """Columns that no model sees, each with the reason."""
    key_features: tuple[str, ...] = ()
    """Features that pages show first; empty: the first five."""
    segments: dict[str, Segment] = msgspec.field(default_factory=dict)
    """Slices in which errors are shown and judged too."""
    min_features: int | None = None
    """So many features of a row must be known; null: half of them."""
    features_ttl_days: int = FEATURES_TTL_DAYS
    """How old a feature of the store may be."""
    training: Training = Training()
    """How a model is trained."""
