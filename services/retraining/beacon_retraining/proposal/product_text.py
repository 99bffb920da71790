"""The text of product.yaml and policy.yaml: each proposed line with the reason for it, and what to check."""

from collections.abc import Mapping
from typing import Any

from beacon_retraining.proposal.features import shown
from beacon_retraining.proposal.propose import Proposal
from beacon_retraining.proposal.ranges import unit_of
from beacon_retraining.proposal.yaml_words import block, comment, flow, word

MOST_CANDIDATES = 5


def product_text(name: str, source: Mapping[str, Any], read_as: str, proposal: Proposal) -> str:
    """The content of product.yaml."""
    parts = [
        comment("What the data and the model are. Beacon proposed this from the table: check what the comments say."),
        comment("All keys: docs/reference/product.md. Check the file: beacon check. Limits: policy.yaml, beside it."),
        f"name: {word(name)}\n",
        f"title: {word(name.replace('-', ' ').replace('_', ' ').capitalize())}\n",
        "# It moves with a breaking change alone (docs/explanation/schema-changes.md).\nschema_version: 1\n\n",
        comment(f"Read as: {read_as}."),
        f"source: {flow(source)}\n\n",
        _data(proposal),
        _entity(proposal),
        _time(proposal),
        _target(proposal),
        _excluded(proposal),
        "# Ranges are what the table has, with a margin as wide as itself: a value outside is refused.\n"
        "# Units are those that names tell; fill in the others.\n"
        "features:\n",
        block((feature.name, feature.entry, feature.why) for feature in proposal.features),
        _watched(proposal),
    ]
    return "".join(parts)


def policy_text(proposal: Proposal) -> str:
    """The content of policy.yaml: only what differs from the defaults."""
    unit = proposal.target.name
    sections: list[tuple[str, list[tuple[str, object, str]]]] = []
    if proposal.large_residual is not None:
        why = f"In units of {unit}: about one in twenty held-out rows of a quick model is further off."
        sections.append(("quality", [("large_residual", proposal.large_residual, why)]))
    promotion: list[tuple[str, object, str]] = []
    if proposal.min_r2 > 0:
        why = f"A quick model's R2 on held-out rows is {proposal.r2:.2f}; this is less by a margin."
        promotion.append(("min_r2", proposal.min_r2, why))
    if proposal.min_coverage is not None:
        why = f"Newer rows are unlike the older ones: a quick model's intervals hold {proposal.coverage:.0%} of them."
        promotion.append(("min_coverage", proposal.min_coverage, why))
    if proposal.max_missing_ratio is not None:
        why = "RMSE with a tenth of the values missing to RMSE with none: here single features tell much."
        promotion.append(("max_missing_ratio", proposal.max_missing_ratio, why))
    if proposal.promotion_rows is not None:
        why = f"The table has {proposal.rows} rows; the usual limit is more than a comparison can have."
        promotion.append(("min_rows", proposal.promotion_rows, why))
    if promotion:
        sections.append(("promotion", promotion))
    if proposal.drift:
        why = f"The table has few rows a day (by {proposal.time}), so that shorter windows would stay empty."
        first, *rest = proposal.drift.items()
        sections.append(("drift", [(*first, why), *((key, value, "") for key, value in rest)]))
    text = comment("How a model is judged, promoted and watched. Only what differs from the defaults is here.")
    text += comment("All keys and defaults: docs/reference/policy.md.")
    text += comment("promotion.directions can say which way a feature must work, such as {area: up}: people know that.")
    return text + "".join(f"{name}:\n{block(entries)}" for name, entries in sections) + ("" if sections else "{}\n")


def _data(proposal: Proposal) -> str:
    entries: list[tuple[str, object, str]] = [
        ("rows", {"min": proposal.rows // 2}, f"The table has {proposal.rows} rows: a file of half of them is cut off.")
    ]
    if proposal.data_limits:
        why = "What this table has is near or over the usual limits. Is it as it should be?"
        entries.append(("limits", proposal.data_limits, why))
    return "data:\n" + block(entries) + "\n"


def _entity(proposal: Proposal) -> str:
    if not proposal.key_types:
        found = ", ".join(proposal.key_candidates[:MOST_CANDIDATES])
        could = f" Unique in each row, so they could be it: {found}." if found else ""
        why = f"No key: features come with each request, and feature serving is off.{could} beacon new --key COLUMN."
        return comment(why) + "entity: none\n\n"
    keys = list(proposal.key_types)
    kinds = set(proposal.key_types.values())
    entity: dict[str, Any] = {"name": entity_name(keys), "key": keys[0] if len(keys) == 1 else keys}
    if kinds != {"int64"}:
        entity["type"] = kinds.pop() if len(kinds) == 1 else proposal.key_types
    return (
        f"# What a prediction is about; clients and the feature store name it by its key.\nentity: {flow(entity)}\n\n"
    )


def entity_name(keys: list[str]) -> str:
    """A name for the entity, from its key."""
    text = "".join(char if char.isalnum() and char.isascii() else "-" for char in keys[0].lower()).strip("-")
    for end in ("-id", "-key", "-no", "-nr", "-code"):
        text = text.removesuffix(end)
    return text[:40] or "row"


def _time(proposal: Proposal) -> str:
    if proposal.time is None:
        return ""
    why = "When a row was so. Times without a zone are UTC. The newest rows are held out, as the future will be."
    text = comment(why) + f"time: {flow({'event': proposal.time, 'split': 'time'})}\n\n"
    if proposal.features_ttl_days is not None:
        why = (
            "By entity only features younger than this are served; the oldest rows would be too old for the usual time."
        )
        text += comment(why) + f"features_ttl_days: {proposal.features_ttl_days}\n\n"
    return text


def _target(proposal: Proposal) -> str:
    target = proposal.target
    valid = [0.0, None] if target.low >= 0 else [None, None]
    entry: dict[str, Any] = {"name": target.name, "unit": unit_of(target), "valid": valid}
    seen = f"Seen: {shown(target.low)} to {shown(target.high)}. `valid` is what an actual may be (null: open)."
    if target.missing:
        seen += f" {target.missing} of {proposal.rows} rows have none: not trained on."
    unit = "" if entry["unit"] else " No name tells the unit: fill it in."
    if proposal.target_ends is not None:
        entry["low"], entry["high"] = proposal.target_ends
        seen += " 2 % of the rows are below `low`, 2 % above `high`: such predictions count as extreme."
    return comment(seen + unit) + f"target: {flow(entry)}\n\n"


def _excluded(proposal: Proposal) -> str:
    if not proposal.excluded:
        return ""
    head = "# Columns that no model sees. A wrong one belongs to the features.\nexcluded:\n"
    return head + block((name, why, "") for name, why in proposal.excluded.items()) + "\n"


def _watched(proposal: Proposal) -> str:
    text = ""
    if proposal.key_features:
        text += "\n# The features that a quick model needs most: pages and dashboards show them first.\n"
        text += f"key_features: {flow(list(proposal.key_features))}\n"
    if proposal.segments:
        text += (
            "\n# Errors are also shown and judged for these slices: groups that must not get worse unseen.\nsegments:\n"
        )
        text += block((name, segment, "") for name, segment in proposal.segments.items())
    few = -(-len(proposal.features) // 2)
    text += "\n# So many features of a row must be known, the request's or the feature store's.\n"
    return text + f"min_features: {few}\n"
