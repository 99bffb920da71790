"""The model card of a model that was brought: what Beacon knows of it, and what only its owner knows."""

from collections.abc import Sequence

from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Manifest
from beacon_retraining.packaging.card import effects_text, training_values, value_text
from beacon_retraining.packaging.effects import Effects
from beacon_retraining.packaging.figures import figure

TEMPLATE = """\
# {title}: model {version}

{algorithm}, brought to Beacon {created_at} from `{file}`.
It predicts {target}{in_unit}, and was trained elsewhere: how, and on what, only its owner knows.
{note}
## Intended use

An estimate of {target} with an interval, for people who study or monitor such data. Not by itself for decisions about
people or money.

## The model

- file: `{file}`, sha256 `{sha256}`
- converted to ONNX; on {parity_rows} rows its answers differ from the original's by at most {parity}{unit_note}, in
  float32 ({parity_share} of the target's spread)
- what it takes: {takes}

## Scores

| figure | value | how |
| --- | --- | --- |
{scores}

That the model has not seen these rows is its owner's word: Beacon cannot know it. Where it has, the figures are too
good and the intervals too narrow.

## Interval

From prediction - {low} to prediction + {high}{unit_note}: {method}.
It promises {coverage:.0%}; measured {measured:.1%}, on rows that did not set the widths. It is equally wide everywhere.

## Features

Rise of the RMSE{unit_note} on the given rows when one feature's values are shuffled. A missing value is filled before
the model sees it, also where the model could take it as it is.

| feature | importance | values in {rows_of} | fill |
| --- | --- | --- | --- |
{importances}

## Effects

{effects}

## Limits

- Predictions outside {low_target} to {high_target}{unit_note}, the range of the target in {rows_of}, are flagged.
- Values outside a feature's range in {rows_of} are flagged.
- Beacon cannot refit it: a later retraining is compared with it on newer rows alone.

## Data

{source}: {rows} rows, fingerprint (sha256) `{fingerprint}`; {libraries}.
"""


def brought_card(
    product: Product,
    manifest: Manifest,
    effects: Effects,
    *,
    file: str,
    sha256: str,
    note: str,
    takes: Sequence[str],
    parity: tuple[float, float, int],
    rows_of: str,
) -> str:
    """MODEL_CARD.md; `parity` is the largest difference in the target's unit, its share of the spread, and the rows."""
    target = manifest.schema.target
    pairs = sorted(zip(manifest.schema.features, manifest.features, strict=True), key=lambda pair: -pair[1].importance)
    return TEMPLATE.format(
        title=product.title,
        version=manifest.version,
        algorithm=manifest.algorithm,
        created_at=manifest.created_at,
        file=file,
        sha256=sha256,
        target=target.title,
        in_unit=f" in {target.unit}" if target.unit else "",
        unit_note=f" ({target.unit})" if target.unit else "",
        note=f"\n{note}\n" if note else "",
        takes="; ".join(takes),
        parity=figure(parity[0]),
        parity_share=f"{parity[1]:.1g}",
        parity_rows=parity[2],
        scores="\n".join(f"| {score.name} | {figure(score.value)} | {score.how} |" for score in manifest.scores),
        low=figure(manifest.interval.low),
        high=figure(manifest.interval.high),
        method=manifest.interval.method,
        coverage=manifest.interval.coverage,
        measured=manifest.interval.measured_coverage,
        rows_of=rows_of,
        importances="\n".join(
            f"| {feature.name} | {figure(facts.importance)} | {training_values(feature, facts)} "
            f"| {value_text(feature, facts, facts.fill)} |"
            for feature, facts in pairs
        ),
        effects="\n".join(effects_text(effects, manifest)),
        low_target=figure(manifest.prediction_min),
        high_target=figure(manifest.prediction_max),
        source=manifest.data.source,
        rows=manifest.data.rows,
        fingerprint=manifest.data.fingerprint,
        libraries=", ".join(f"{name} {version}" for name, version in sorted(manifest.libraries.items())),
    )
