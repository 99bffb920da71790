"""Where a product's table comes from: `source` and `data` of product.yaml, as frozen, typed objects.

`source` is one mapping, or a list of them. Each names one place (a file, a folder, an address, a query, a Kaggle data
set) and, where it is needed, the format of its text. What is not said of the format is found from the file. A later
source with `join` adds columns to the first one; without `join` it adds rows. Where two sources have a row of one key
(and event time), the newest counts: the one with the last `time.created`, else that of the later source.
"""

import codecs
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from beacon_core.domain.masking import ASSIGNED
from beacon_core.domain.spec import ProductError, Rule, Spec, check_rules, convert

Kind = Literal["file", "folder", "https", "s3", "url", "sql", "kaggle"]
PLACES: tuple[Kind, ...] = ("kaggle", "sql", "folder", "https", "s3", "url", "file")
"""The keys that say where a source is. `kaggle` has a `file` too, and `sql` may be spelt as `url` with `query`."""
KAGGLE = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
VARIABLE = re.compile(r"\$\{([^}]*)\}")
VARIABLE_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
SCHEMES = {"https": ("https", "http"), "s3": ("s3",)}
USER_INFO = re.compile(r"://([^/?#]*)@")
UNIX = {"unix": 1, "unix_ms": 1000}
"""What `format.dates` may say beside a pattern: seconds or milliseconds since 1970."""
MOST_SIGN = 8
SEPARATORS = "., '_\u00a0\u202f\u2019"


class RowLimits(Spec, frozen=True):
    """How many rows the table may have (inclusive)."""

    min: int = 20
    """Fewest rows; fewer are a file that is cut off."""
    max: int = 5_000_000
    """Most rows."""


class DataLimits(Spec, frozen=True):
    """What retraining refuses in a whole table.

    Shares (0 to 1) of missing values in a column and of repeated rows, a feature's rank correlation with the target (a
    leak), a column's distance (Kolmogorov-Smirnov) from the last data.
    """

    null_share: float = 0.5
    """Share of missing values in a column. Rows without a target are allowed, too: they are not trained on."""
    duplicate_share: float = 0.1
    """Share of rows that repeat an earlier one."""
    target_correlation: float = 0.995
    """Rank correlation of a feature with the target; above it, it leaks the target."""
    shift: float = 0.3
    """Distance (Kolmogorov-Smirnov) of a column from the last accepted data."""


class DataRules(Spec, frozen=True):
    """`data` of product.yaml: the limits of the table as a whole."""

    rows: RowLimits = RowLimits()
    limits: DataLimits = DataLimits()


class Format(Spec, frozen=True, kw_only=True):
    """How a file's text is written; None is found from the file.

    `type` is the file's format. `header` is false where the first line is data; `names` are its columns then. `missing`
    are the marks of a missing value. `index` are columns to leave out, an empty name for one without a name. `dates`
    are `strptime` patterns of columns. `signs` are what each number of a column is written with.
    """

    type: Literal["csv", "parquet", "jsonlines"] | None = None
    """Of the file."""
    delimiter: str | None = None
    """Between the cells of CSV."""
    decimal: Literal[".", ","] | None = None
    """Mark before the fraction."""
    thousands: str | None = None
    """Mark between thousands."""
    quote: str | None = None
    """Mark around a cell; empty: none."""
    encoding: str | None = None
    """Of the text, as Python names it."""
    missing: tuple[str, ...] | None = None
    """Marks of a missing value, in all columns; null: the usual ones of each type."""
    header: bool = True
    """Whether the first line names the columns."""
    names: tuple[str, ...] = ()
    """The columns' names, for a file without a header."""
    index: tuple[str, ...] | None = None
    """Columns to leave out, an empty name for one without a name."""
    compression: Literal["none", "gzip", "zip", "bz2", "xz", "zstd"] | None = None
    """Of the file."""
    dates: dict[str, str] = msgspec.field(default_factory=dict)
    """Patterns (strptime) of columns, or unix and unix_ms."""
    signs: dict[str, str] = msgspec.field(default_factory=dict)
    """The currency, percent sign or unit that each number of a column is written with, such as {price: $}."""


class SqlQuery(Spec, frozen=True):
    """A query of a database: SQLAlchemy's URL, and the SELECT."""

    url: str
    """SQLAlchemy's URL; ${NAME} is an environment variable."""
    query: str
    """A SELECT."""


class SourceEntry(Spec, frozen=True, kw_only=True):
    """One source as product.yaml spells it; exactly one place, and `kind` follows from it.

    `sample` is a file beside product.yaml that is read where no Kaggle credentials are set.
    """

    kind: Kind | None = None
    """Follows from the place; may be said."""
    file: str | None = None
    """A file's path, from product.yaml's folder. With kaggle: the file in the data set."""
    folder: str | None = None
    """A folder's path: all its files, as one table."""
    pattern: str | None = None
    """Of the folder's files; null: all."""
    https: str | None = None
    """An address; ${NAME} is an environment variable."""
    s3: str | None = None
    """An object, s3://BUCKET/KEY."""
    url: str | None = None
    """Any other address that fsspec reads."""
    sql: SqlQuery | None = None
    """A query of a database."""
    query: str | None = None
    """A SELECT, beside url."""
    kaggle: str | None = None
    """A data set, OWNER/NAME."""
    sample: str | None = None
    """File that is read where no Kaggle credentials are set."""
    join: tuple[str, ...] = ()
    """Columns by which this source adds columns to the first one; none: it adds rows; the newest of a key counts."""
    format: Format = Format()
    """How its text is written; what is not said is found."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One source, checked: its kind, and its place as product.yaml spells it.

    `place` is a path, a URL or Kaggle's OWNER/NAME; `base` is the folder that paths are relative to. A URL may hold
    `${NAME}`: environment variables, which are read when the source is.
    """

    kind: Kind
    place: str
    base: Path
    file: str = ""
    pattern: str = "*"
    query: str = ""
    sample: str = ""
    join: tuple[str, ...] = ()
    format: Format = Format()

    @property
    def path(self) -> Path:
        """The file or folder; meaningful for those two kinds alone."""
        return self.base / self.place

    @property
    def sample_path(self) -> Path | None:
        """The sample beside product.yaml, if there is one."""
        return self.base / self.sample if self.sample else None

    @property
    def name(self) -> str:
        """What messages call it: never a credential, as `${NAME}` stays as it is spelt."""
        if self.kind in {"file", "folder"}:
            return self.place
        return self.place if self.kind in {"https", "s3", "url"} else f"{self.kind}:{self.place}"


def parse_sources(file: Path, raw: object) -> tuple[Source, ...]:
    """Check `source` of the product.yaml `file`; raises `ProductError` that names file, key and rule."""
    entries = raw if isinstance(raw, list) else [raw]
    if not entries:
        raise ProductError(file, "source", "must name at least one source")
    sources = []
    for number, entry in enumerate(entries):
        key = f"source[{number}]" if isinstance(raw, list) else "source"
        sources.append(_source(file, key, entry, is_first=number == 0))
    return tuple(sources)


def check_data_rules(file: Path, rules: DataRules) -> None:
    """Raise `ProductError` for a limit of the table that cannot hold."""
    limits = msgspec.structs.asdict(rules.limits).items()
    check_rules(
        file,
        [
            ("data.rows", 0 < rules.rows.min <= rules.rows.max, "min must be 1 to max"),
            *((f"data.limits.{name}", 0 < limit <= 1, "must be above 0, and 1 at most") for name, limit in limits),
        ],
    )


def _source(file: Path, key: str, raw: object, *, is_first: bool) -> Source:
    _check_shape(file, key, raw)
    entry = convert(file, key, raw, SourceEntry)
    kind = _kind(file, key, entry)
    place, query = _place(file, key, entry, kind)
    rules = _place_rules(key, kind, place, entry, file.parent)
    rules += _address_rules(key, kind, place) + _join_rules(key, entry, is_first=is_first)
    check_rules(file, rules + _format_rules(f"{key}.format", entry.format))
    return Source(
        kind=kind,
        place=place,
        base=file.parent,
        file=(entry.file or "") if kind == "kaggle" else "",
        pattern=entry.pattern or "*",
        query=query,
        sample=entry.sample or "",
        join=entry.join,
        format=entry.format,
    )


def _check_shape(file: Path, key: str, raw: object) -> None:
    if not isinstance(raw, dict):
        raise ProductError(file, key, f"must be a mapping such as {{file: table.csv}}, is {raw!r}")
    for moved in ("rows", "limits"):
        if moved in raw:
            raise ProductError(file, f"{key}.{moved}", f"belongs to the top-level key data: data.{moved}")
    if "missing" in raw:
        raise ProductError(file, f"{key}.missing", f"belongs to the format: {key}.format.missing")


def _kind(file: Path, key: str, entry: SourceEntry) -> Kind:
    named = [place for place in PLACES if getattr(entry, place) is not None]
    if named == ["kaggle", "file"]:
        named = ["kaggle"]
    if not named:
        raise ProductError(file, key, f"names no place: needs one of {', '.join(sorted(PLACES))}")
    if len(named) > 1:
        raise ProductError(file, key, f"names several places ({', '.join(named)}); write a list of sources")
    found = _kind_of_url(entry) if named == ["url"] else named[0]
    if entry.kind is not None and entry.kind != found and not (named == ["url"] and entry.kind == "url"):
        raise ProductError(file, f"{key}.kind", f"is {entry.kind}, but its keys are those of the kind {found}")
    return found


def _kind_of_url(entry: SourceEntry) -> Kind:
    """`url` is the long spelling of `https`, `s3` and, with a query, of `sql`."""
    if entry.query is not None or entry.kind == "sql":
        return "sql"
    scheme = SCHEME.match(entry.url or "")
    kinds: dict[str, Kind] = {"https": "https", "http": "https", "s3": "s3"}
    if scheme is None and entry.kind in {"https", "s3"}:
        return entry.kind  # all of it is in a variable
    return kinds.get(scheme[1].lower(), "url") if scheme else "url"


def _place(file: Path, key: str, entry: SourceEntry, kind: Kind) -> tuple[str, str]:
    """The place, and the query of a database."""
    if kind == "sql":
        if entry.sql is not None:
            return entry.sql.url, entry.sql.query
        if entry.query is None:
            raise ProductError(file, key, "lacks the key `query`: a SELECT")
        return entry.url or "", entry.query
    place: Any = getattr(entry, kind)
    return (entry.url or "" if place is None else place), ""


def _place_rules(key: str, kind: Kind, place: str, entry: SourceEntry, base: Path) -> list[Rule]:
    query = entry.query if entry.sql is None else entry.sql.query
    name = entry.file or ""
    return [
        (f"{key}.{kind}", bool(place.strip()) and place.isprintable(), "must be text on one line, and not empty"),
        (f"{key}.pattern", entry.pattern is None or kind == "folder", "is for a folder alone"),
        (f"{key}.pattern", entry.pattern != "", "must not be empty, such as *.csv"),
        (f"{key}.query", entry.query is None or entry.sql is None, "is given twice: it belongs into sql"),
        (f"{key}.query", query is None or bool(query.strip()), "must be a SELECT, is empty"),
        (f"{key}.query", entry.query is None or kind == "sql", "is for a database alone"),
        (f"{key}.sample", entry.sample is None or kind == "kaggle", "is for a Kaggle data set alone"),
        (f"{key}.sample", entry.sample is None or bool(entry.sample.strip()), "must be a file's path"),
        (
            f"{key}.kaggle",
            kind != "kaggle" or bool(KAGGLE.fullmatch(place)),
            "must be OWNER/NAME, as in the data set's address",
        ),
        (
            f"{key}.file",
            kind != "kaggle" or (name not in {"", ".."} and Path(name).name == name),
            "must be a file's name, without a folder",
        ),
        (f"{key}.{kind}", kind not in {"file", "folder"} or not SCHEME.match(place), "must be a path; a URL is `url:`"),
        (f"{key}.folder", kind != "folder" or not (base / place).is_file(), "is a file; write `file:`"),
        (f"{key}.file", kind != "file" or not (base / place).is_dir(), "is a folder; write `folder:`"),
    ]


def _address_rules(key: str, kind: Kind, place: str) -> list[Rule]:
    """Addresses name variables well, and hold no password."""
    if kind not in {"https", "s3", "url", "sql"}:
        return []
    names = VARIABLE.findall(place)
    is_whole_variable = bool(VARIABLE.match(place))
    scheme = SCHEME.match(place)
    wanted = SCHEMES.get(kind)
    rule = f"must begin with {' or '.join(f'{name}://' for name in wanted)}" if wanted else "must begin with SCHEME://"
    fits = is_whole_variable or (scheme is not None and (wanted is None or scheme[1].lower() in wanted))
    if kind == "sql":
        rule = "must be SQLAlchemy's URL, such as postgresql+psycopg://HOST/NAME or ${NAME}"
    return [
        (f"{key}.{kind}", all(map(VARIABLE_NAME.fullmatch, names)), "a variable must be written ${NAME}"),
        (f"{key}.{kind}", "${" not in VARIABLE.sub("", place), "a variable must be written ${NAME}"),
        (f"{key}.{kind}", fits, rule),
        (
            f"{key}.{kind}",
            not _has_credential(place),
            "holds a credential; write ${NAME} for it and set that environment variable",
        ),
    ]


def _has_credential(address: str) -> bool:
    """Whether a password, a token or a signature is spelt out."""
    plain = VARIABLE.sub("", address)
    user = USER_INFO.search(plain)
    if user and unquote(user[1].partition(":")[2]):
        return True
    return bool(ASSIGNED.search(plain))


def _join_rules(key: str, entry: SourceEntry, *, is_first: bool) -> list[Rule]:
    columns = entry.join
    return [
        (f"{key}.join", not (is_first and columns), "is for the sources after the first one"),
        (f"{key}.join", all(name.strip() == name and name for name in columns), "must be names of columns"),
        (f"{key}.join", len(set(columns)) == len(columns), "holds a column twice"),
    ]


def _format_rules(key: str, given: Format) -> list[Rule]:
    marks = [given.delimiter, given.decimal, given.thousands, given.quote]
    apart = [mark for mark in marks if mark]
    return [
        (f"{key}.delimiter", _is_mark(given.delimiter), "must be one character, such as ; or \\t"),
        (f"{key}.quote", given.quote == "" or _is_mark(given.quote), "must be one character, or empty for none"),
        (
            f"{key}.thousands",
            given.thousands is None or (len(given.thousands) == 1 and given.thousands in SEPARATORS),
            "must be one of , . ' _ or a blank",
        ),
        (f"{key}", len(set(apart)) == len(apart), "delimiter, decimal, thousands and quote must differ"),
        (f"{key}.encoding", given.encoding is None or _is_encoding(given.encoding), "must be an encoding of Python"),
        (f"{key}.header", given.header or bool(given.names), "is false: `names` must name the columns, in their order"),
        (f"{key}.names", not (given.header and given.names), "is for files without a header (header: false)"),
        (f"{key}.names", all(name and name == name.strip() for name in given.names), "holds an empty or padded name"),
        (f"{key}.names", len(set(given.names)) == len(given.names), "holds a name twice"),
        *(
            (
                f"{key}.dates.{name}",
                "%" in pattern or pattern in UNIX,
                f"must be a pattern such as %d/%m/%Y, or {' or '.join(UNIX)}",
            )
            for name, pattern in given.dates.items()
        ),
        *(
            (f"{key}.signs.{name}", _is_sign(sign), "must be a currency, a percent sign or a unit, such as $")
            for name, sign in given.signs.items()
        ),
    ]


def _is_mark(mark: str | None) -> bool:
    return mark is None or (len(mark) == 1 and mark not in "\r\n\0")


def _is_sign(sign: str) -> bool:
    return (
        0 < len(sign) <= MOST_SIGN
        and sign.isprintable()
        and not any(each in " .,+-" or each.isdigit() for each in sign)
    )


def _is_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        return False
