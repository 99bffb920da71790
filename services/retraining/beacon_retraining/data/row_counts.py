"""Which rows are trained on, which are not, and why: counts for the log, the report and MLflow."""

import msgspec


class FileChanges(msgspec.Struct, frozen=True):
    """How the data file differs from the last one: entities that are new, changed or gone.

    `moved` of the changed ones have the features that another entity had before, as after a sort.
    """

    new: int = 0
    changed: int = 0
    gone: int = 0
    moved: int = 0


class ExcludedRows(msgspec.Struct, frozen=True):
    """Rows that are not trained on, by reason: of the data file (`base_`), and labelled predictions.

    `base_unlabelled` ones have no target. `base_broken` and `broken` ones break a rule of the product once they are
    joined with the store; `broken_features` counts them by feature. `incomplete` ones have fewer features than serving
    requires. `base_repeated` and `repeated` ones are superseded by a later actual of the same case.
    """

    base_unlabelled: int = 0
    base_broken: int = 0
    base_repeated: int = 0
    broken: int = 0
    incomplete: int = 0
    repeated: int = 0
    broken_features: dict[str, int] = {}

    def counts(self) -> dict[str, float]:
        """The counts as metrics."""
        return {name: float(getattr(self, name)) for name in self.__struct_fields__ if name != "broken_features"}


class DatasetSummary(msgspec.Struct, frozen=True):
    """dataset.json: the fingerprint and the number of the training rows, and the counts of the excluded rows.

    `left_out` is its name in the file, and in MLflow's metrics.
    """

    fingerprint: str
    rows: int
    production_rows: int
    newest: str
    left_out: ExcludedRows = ExcludedRows()
    file: FileChanges = FileChanges()


class LabelCounts(msgspec.Struct, frozen=True):
    """The counts of validation.json: labelled predictions, and those of them that break a rule before the join."""

    labels: int
    labels_refused: int


def unlabelled_text(unlabelled: int) -> str:
    """What follows the number of a table's rows: how many of them are not trained on; empty for none."""
    return f", {unlabelled} of them without a target, which are not trained on" if unlabelled else ""


def messages(summary: DatasetSummary, min_features: int) -> list[str]:
    """One message per count that is not zero."""
    file, left_out = summary.file, summary.left_out
    broken = ", ".join(f"{name} {count}" for name, count in left_out.broken_features.items())
    rules = f"once joined with the feature store they break product.yaml's rules ({broken})"
    phrases = {
        "rows of the data file that are new": file.new,
        "rows of the data file that changed": file.changed,
        "changed rows that had another number before; an entity is the number of its row, so it now means "
        "another row (was the file sorted, or a row removed?)": file.moved,
        "rows that are gone from the data file; the store keeps the last features of their entities": file.gone,
        "rows of the data file not trained on, as they have no target": left_out.base_unlabelled,
        f"rows of the data file not trained on, as {rules}": left_out.base_broken,
        "rows of the data file superseded by an actual of the same case": left_out.base_repeated,
        f"labelled predictions not trained on, as {rules}": left_out.broken,
        f"labelled predictions not trained on, as fewer than {min_features} features are known": left_out.incomplete,
        "labelled predictions not trained on, as a later actual of the same case counts": left_out.repeated,
    }
    return [f"{phrase}: {count}" for phrase, count in phrases.items() if count]


def rows_section(summary: DatasetSummary, labels: LabelCounts, min_features: int) -> str:
    """The report's section on the training rows, in Markdown."""
    lines = [
        f"rows trained on: {summary.rows}, {summary.production_rows} of them labelled predictions",
        f"labelled predictions: {labels.labels}",
        *messages(summary, min_features),
    ]
    if refused := labels.labels_refused:
        lines.append(f"labelled predictions not trained on, as they break product.yaml's rules: {refused}")
    return "\n".join(["## Training rows", "", *(f"- {line}" for line in lines), "", ""])
