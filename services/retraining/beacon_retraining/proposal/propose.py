"""From a table and what a person says of it to a proposal: features, exclusions, key, times, segments and limits."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from beacon_core.domain.data_errors import HEADER, ROWS, DataError, shown_value
from beacon_core.domain.integers import INT64
from beacon_core.domain.pins import NAME
from beacon_core.domain.precision import LARGEST_FLOAT32
from beacon_core.domain.product_entry import Training
from beacon_core.domain.product_rules import MOST_FEATURES
from beacon_core.domain.source import DataRules, RowLimits
from beacon_core.domain.text import close_match
from beacon_core.platform import clock
from beacon_core.sources.raw import RawTable
from beacon_retraining.data.row_rules import check_unlabelled
from beacon_retraining.proposal import exclusions, limits
from beacon_retraining.proposal.column import describe
from beacon_retraining.proposal.earlier_target import order_of, steps_behind
from beacon_retraining.proposal.features import FeatureProposal, moment, propose_feature
from beacon_retraining.proposal.quick_model import Closeness, QuickModel, closeness, fit_quick
from beacon_retraining.proposal.ranges import unit_of
from beacon_retraining.proposal.table_column import Form, Matrix, TableColumn

SAMPLE_ROWS = 50_000
MOST_SEGMENTS = 3
MOST_SEGMENT_LEVELS = 12
MOST_KEY_FEATURES = 5
ROW_COLUMNS = 3
"""Columns of a table beside its features: target, key and time at least."""
SECONDS = {"date": 86_400.0, "timestamp": 1.0}


class Wanted(msgspec.Struct, frozen=True):
    """What a person says of the table: the target's column, the key's columns, the column of the event's time."""

    target: str
    keys: tuple[str, ...] = ()
    time: str | None = None
    zone: str = "UTC"


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """All that product.yaml and policy.yaml will say, without their form.

    `key_types` is the type of each key column. `split_time` says that the event column was given or found. `notes` are
    for the person at the terminal.
    """

    rows: int
    target: TableColumn
    features: tuple[FeatureProposal, ...]
    excluded: dict[str, str]
    key_types: dict[str, str]
    key_candidates: tuple[str, ...]
    time: str | None
    features_ttl_days: int | None
    key_features: tuple[str, ...]
    segments: dict[str, dict[str, Any]]
    target_ends: tuple[float, float] | None
    data_limits: dict[str, float]
    large_residual: float | None
    r2: float
    min_r2: float
    coverage: float | None
    min_coverage: float | None
    max_missing_ratio: float | None
    drift: dict[str, Any]
    promotion_rows: int | None
    marks: tuple[str, ...]
    signs: dict[str, str]
    notes: tuple[str, ...]


def propose(raw: RawTable, wanted: Wanted) -> Proposal:
    """Propose a product of a table; raises `DataError` that names the column and the rule."""
    table = raw.table
    _check_shape(raw)
    _check_names(raw, wanted)
    rows = len(table)
    sample = _sample(rows)
    form = Form(raw.dialect.spelling, wanted.zone, raw.given.missing)
    columns = {
        name: describe(
            name, table[name], sample, form._replace(pattern=raw.given.dates.get(name), sign=raw.given.signs.get(name))
        )
        for name in table.column_names
    }
    target = _check_target(raw, columns[wanted.target], wanted)
    key_types = {key: _key_type(raw, columns[key]) for key in wanted.keys}
    others = {name: column for name, column in columns.items() if name != target.name}
    event = _event(raw, others, wanted)
    _check_repeats(raw, wanted, event)
    excluded, chosen, close = _choose(others, target, event, wanted.keys)
    if not chosen:
        raise DataError(raw.name, HEADER, f"no column is left as a feature: {_reasons(excluded)}")
    days = None if event is None else event.values * SECONDS[event.kind] / 86_400.0
    model = fit_quick(chosen, target, by_time=days, event=None if event is None else event.name)
    features = tuple(
        propose_feature(
            column,
            is_event=event is not None and column.name == event.name,
            has_event=event is not None,
            note=exclusions.leak_note(close[column.name], target.name),
        )
        for column in chosen
    )
    pace = None if days is None else limits.rows_per_day(days, rows)
    ranked = model.ranked()
    return Proposal(
        rows=rows,
        target=target,
        features=features,
        excluded=excluded,
        key_types=key_types,
        key_candidates=tuple(
            name for name, column in others.items() if exclusions.can_be_key(column) and not _bad_key(column)
        ),
        time=None if event is None else event.name,
        features_ttl_days=None if event is None or not wanted.keys else limits.features_ttl_days(_age_days(event)),
        key_features=_key_features(ranked, columns),
        segments=_segments(chosen, target, ranked),
        target_ends=limits.target_ends(target),
        data_limits=limits.data_limits(
            max((column.missing_share for column in chosen), default=0.0),
            _repeats(chosen, target),
            max((each.ranks for each in close.values()), default=0.0),
        ),
        large_residual=limits.large_residual(model),
        r2=model.r2,
        min_r2=limits.min_r2(model),
        coverage=model.coverage,
        min_coverage=limits.min_coverage(model),
        max_missing_ratio=limits.max_missing_ratio(model),
        drift=limits.drift_limits(pace),
        promotion_rows=limits.promotion_rows(rows),
        marks=_marks(columns),
        signs={column.name: column.sign for column in (*chosen, target) if column.sign},
        notes=_notes(target, model, event, wanted),
    )


def _key_features(ranked: Sequence[str], columns: Mapping[str, TableColumn]) -> tuple[str, ...]:
    """The most important features, without times: these are not compared with training, so their charts stay empty."""
    lasting = [name for name in ranked if not columns[name].is_time]
    return tuple((lasting or ranked)[:MOST_KEY_FEATURES])


def _age_days(event: TableColumn) -> float:
    """How old the oldest row is."""
    return (clock.now().timestamp() - event.low * SECONDS[event.kind]) / SECONDS["date"]


def _marks(columns: Mapping[str, TableColumn]) -> tuple[str, ...]:
    """The marks of a missing value that product.yaml must say: where one is unusual, all of them."""
    unusual = {mark for column in columns.values() for mark in column.marks}
    usual = {mark for column in columns.values() for mark in column.usual}
    return tuple(sorted(unusual | usual)) if unusual else ()


def _check_shape(raw: RawTable) -> None:
    rows, width = len(raw.table), len(raw.table.column_names)
    if width > MOST_FEATURES + ROW_COLUMNS:
        rule = f"has {width} columns, and a product at most {MOST_FEATURES} features: write a table of fewer columns"
        raise DataError(raw.name, HEADER, rule)
    if rows < RowLimits().min:
        raise DataError(raw.name, ROWS, f"has {rows} rows; a product needs at least {RowLimits().min}")


def _check_names(raw: RawTable, wanted: Wanted) -> None:
    names = raw.table.column_names
    given = [("--target", wanted.target), *(("--key", key) for key in wanted.keys)]
    given += [("--time", wanted.time)] if wanted.time else []
    for option, name in given:
        if name not in names:
            near = close_match(name, names)
            hint = f"did you mean {near}?" if near else f"it has {_some(names)}"
            raise DataError(raw.name, HEADER, f"has no column {shown_value(name)}, which {option} names; {hint}")
    if wanted.target in (*wanted.keys, wanted.time):
        raise DataError(raw.name, wanted.target, "is the target: it can be neither --key nor --time")
    for option, name in given[: 1 + len(wanted.keys)]:
        if problem := exclusions.name_problem(name, ()):
            raise DataError(raw.name, name, f"cannot be {option}: {problem}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown


def _sample(rows: int) -> NDArray[np.int64]:
    """The rows whose values are looked at one by one: all of them, or so many by chance, in their order."""
    if rows <= SAMPLE_ROWS:
        return np.arange(rows, dtype=np.int64)
    chosen: NDArray[np.int64] = np.random.default_rng(0).choice(rows, SAMPLE_ROWS, replace=False)
    return np.sort(chosen)


def _check_target(raw: RawTable, target: TableColumn, wanted: Wanted) -> TableColumn:
    if (
        target.kind == "bool"
        and target.low == 0
        and target.high == 1
        and pa.types.is_string(raw.table[target.name].type)
    ):
        spelt = set(pc.unique(pc.utf8_trim_whitespace(raw.table[target.name])).to_pylist())
        if spelt & {"0", "1"}:
            return msgspec.structs.replace(target, kind="int", notes=())
    if not target.is_measured:
        what = {"empty": "holds no value at all", "unreadable": target.problem}.get(target.kind, "")
        found = what or f"is a {target.kind if target.kind != 'many' else 'text'}, such as {_first(raw, target)}"
        raise DataError(raw.name, target.name, f"{found}; a target must be numbers: Beacon predicts numbers")
    if max(abs(target.low), abs(target.high)) > LARGEST_FLOAT32:
        rule = f"has numbers beyond {LARGEST_FLOAT32:g}, which no model computes with: choose a larger unit"
        raise DataError(raw.name, target.name, rule)
    if target.distinct == 1:
        raise DataError(raw.name, target.name, f"is {target.low:.15g} in every row: there is nothing to predict")
    if target.name == wanted.time:
        raise DataError(raw.name, target.name, "is the target and the time at once")
    check_unlabelled(raw.name, target.name, len(raw.table), target.missing, DataRules())
    return target


def _first(raw: RawTable, column: TableColumn) -> str:
    cells = raw.table[column.name].drop_null()
    return shown_value(cells[0].as_py()) if len(cells) else "nothing"


def _bad_key(column: TableColumn) -> bool:
    return bool(exclusions.name_problem(column.name, ()))


def _key_type(raw: RawTable, column: TableColumn) -> str:
    """int64 for whole numbers, text for text, dates and codes with leading zeros."""
    if column.missing:
        raise DataError(raw.name, column.name, f"is the key, and has no value in {column.missing} rows")
    if column.kind in {"float", "unreadable", "empty"}:
        raise DataError(raw.name, column.name, f"is the key: must be whole numbers or text, is {column.kind}")
    is_whole = column.kind == "int" and not column.sign and column.low >= INT64.start and column.high < INT64.stop
    return "int64" if is_whole else "text"


def _event(raw: RawTable, columns: dict[str, TableColumn], wanted: Wanted) -> TableColumn | None:
    """The column of the event's time: the named one, else the table's only date, if each row has a past one."""
    now = clock.now().timestamp()
    if wanted.time is None:
        dates = [column for column in columns.values() if column.is_time and column.name not in wanted.keys]
        found = dates[0] if len(dates) == 1 else None
        keyed = [columns[key] for key in wanted.keys if columns[key].is_time]
        found = found or (keyed[0] if len(keyed) == 1 and not dates else None)
        if found is None or found.missing or found.distinct < 2 or found.high * SECONDS[found.kind] > now:
            return None
        return found
    column = columns[wanted.time]
    if not column.is_time:
        hint = f"; say its form by --format: {{dates: {{{column.name}: '%d/%m/%y'}}}}"
        rule = column.problem or f"must be dates or timestamps, has {_first(raw, column)}{hint}"
        raise DataError(raw.name, column.name, f"is the time: {rule}")
    if column.missing:
        raise DataError(raw.name, column.name, f"is the time, and has no value in {column.missing} rows")
    if column.high * SECONDS[column.kind] > now:
        latest = moment(column, column.high)
        raise DataError(raw.name, column.name, f"is the time of what has happened, and has {latest}, in the future")
    return column


def _check_repeats(raw: RawTable, wanted: Wanted, event: TableColumn | None) -> None:
    """Raise `DataError` where the key, with the event's time, does not tell the rows apart."""
    if not wanted.keys:
        return
    names = list(dict.fromkeys((*wanted.keys, *([event.name] if event else []))))
    counts = raw.table.select(names).group_by(names, use_threads=False).aggregate([([], "count_all")])
    repeats = counts.filter(pc.greater(counts["count_all"], 1))
    if not len(repeats):
        return
    example = ", ".join(f"{name} {shown_value(repeats[name][0].as_py())}" for name in names)
    if event is None:
        rule = "repeats; an entity has one row, or several that a column of times tells apart: --time COLUMN"
    else:
        rule = f"repeats at one time of {event.name}: make them one row"
    raise DataError(raw.name, ", ".join(wanted.keys), f"{rule} ({len(repeats)} keys, such as {example})")


def _choose(
    columns: dict[str, TableColumn], target: TableColumn, event: TableColumn | None, keys: tuple[str, ...]
) -> tuple[dict[str, str], list[TableColumn], dict[str, Closeness]]:
    """Excluded columns with their reasons, the features, and how close each of these is to the target."""
    excluded: dict[str, str] = {}
    chosen: list[TableColumn] = []
    for name, column in columns.items():
        if name in keys and not column.is_time:
            continue
        why = exclusions.name_problem(name, (each.name for each in chosen)) or exclusions.reason(column)
        if why and (event is None or name != event.name):
            excluded[name] = why
        elif not why:
            chosen.append(column)
    excluded |= exclusions.copies(chosen)
    if event is not None:
        excluded |= exclusions.later_dates(columns, event)
    chosen = [column for column in chosen if column.name not in excluded]
    close = {column.name: closeness(column, target) for column in chosen}
    leaks = {name: why for name, each in close.items() if (why := exclusions.leak_reason(each, target.name))}
    if leaks and event is not None and len(target.values) == target.rows:
        order, groups = order_of(event, [columns[key] for key in keys if key != event.name])
        known = (name for name in leaks if columns[name].is_measured)
        early = {name for name in known if steps_behind(columns[name], target, order, groups)}
        leaks = {name: why for name, why in leaks.items() if name not in early}
    excluded |= leaks
    in_order = {name: excluded[name] for name in columns if name in excluded}
    chosen = [column for column in chosen if column.name not in excluded]
    return in_order, chosen, {column.name: close[column.name] for column in chosen}


def _segments(chosen: Sequence[TableColumn], target: TableColumn, ranked: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Categories and flags of few levels, the most important first, and bands of the prediction."""
    few = {
        column.name
        for column in chosen
        if column.kind == "bool" or (column.kind == "category" and 2 <= column.distinct <= MOST_SEGMENT_LEVELS)
    }
    names = [name for name in ranked if name in few][:MOST_SEGMENTS]
    found: dict[str, dict[str, Any]] = {name: {"of": name} for name in names}
    bounds = limits.band_bounds(target)
    band = f"{target.name}_band"
    if bounds and not exclusions.name_problem(band, found):
        found[band] = {"of": "prediction", "bounds": bounds}
    return found


def _repeats(chosen: Sequence[TableColumn], target: TableColumn) -> float:
    """The share of sampled rows that repeat an earlier one in every feature and the target."""
    matrix: Matrix = np.column_stack([*(column.values for column in chosen), target.values])
    distinct = len(np.unique(np.nan_to_num(matrix, nan=-1e308), axis=0))
    return 1 - distinct / len(matrix)


def _notes(target: TableColumn, model: QuickModel, event: TableColumn | None, wanted: Wanted) -> tuple[str, ...]:
    found = []
    if target.missing:
        rows = "1 row has" if target.missing == 1 else f"{target.missing} rows have"
        found.append(f"{rows} no {target.name}, and {'is' if target.missing == 1 else 'are'} not trained on")
    if model.r2 > 0.99:
        found.append(f"a quick model's R2 is {model.r2:.3f}: is a feature only known after {target.name}?")
    found += [f"{target.name}: {note}" for note in target.notes]
    if model.r2 < 0.1:
        more = "" if model.r2 > 0 else ", and a model may not reach promotion.min_r2"
        found.append(f"a quick model's R2 is {model.r2:.2f}: the features say little about {target.name}{more}")
    if (least := limits.min_coverage(model)) is not None:
        found.append(
            "newer rows are unlike the older ones: a quick model's intervals of "
            f"{Training().interval_coverage:.0%} hold {model.coverage:.0%} of them: promotion.min_coverage is {least:g}"
        )
    if event is not None and wanted.time is None:
        found.append(f"{event.name} is the table's only date, so it is the event's time, and rows are split by it")
    parts = [key for key in wanted.keys if event is None or key != event.name]
    if parts and (len(wanted.keys) > 1 or event is not None):
        names, verb = ", ".join(parts), "are" if len(parts) > 1 else "is"
        again = "copy them to columns of other names" if len(parts) > 1 else "copy it to a column of another name"
        found.append(f"of the key, {names} {verb} no feature: to learn by it, {again}")
    if unit_of(target) == "":
        found.append(f"target.unit is empty: no name tells the unit of {target.name}")
    return tuple(found)


def _reasons(excluded: dict[str, str]) -> str:
    first = [f"{name} ({why})" for name, why in list(excluded.items())[:3]]
    return "; ".join(first) or "the table has the target alone"


def check_name(name: str) -> str:
    """The rule that a product's name breaks; empty where it is fine."""
    return "" if NAME.fullmatch(name) else "must be lower-case letters, digits, - and _"
