"""Draw the documents' pictures of boxes and arrows into docs/images, from the tables below: `make picture`."""

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT, COLUMN, ROW, MARGIN, TOP = 178, 62, 290, 124, 24, 24
TIP = 5
"""How far an arrow's line ends before its target, so that its head fits."""


class Box(NamedTuple):
    """A part of the system, in its place of the grid; `kind` is its colour."""

    name: str
    column: int
    row: int
    kind: str
    text: str


class Arrow(NamedTuple):
    """What goes from a part to another one: straight in a row or a column, else up or down, across and on.

    `leave` and `reach` move the two ends of a bent arrow to the right.
    """

    source: str
    target: str
    text: str
    leave: int = 0
    reach: int = 0


class Picture(NamedTuple):
    """A file's boxes and arrows."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


PICTURES = {
    "system.svg": Picture(
        "The parts of Beacon",
        (
            Box("client", 0, 0, "outside", "JSON, CSV, tensors"),
            Box("inference", 1, 0, "service", "request to prediction"),
            Box("feature-serving", 2, 0, "service", "entity to features"),
            Box("online store", 3, 0, "store", "Redis, or SQLite"),
            Box("prediction-log", 1, 1, "service", "spool to database"),
            Box("console", 0, 2, "service", "where people see it all"),
            Box("database", 1, 2, "store", "PostgreSQL, or SQLite"),
            Box("promotion", 2, 1, "service", "dark, shadow, canary"),
            Box("feature_repo", 3, 1, "store", "Feast: Parquet, registry"),
            Box("drift-profiling", 1, 3, "service", "profiles and alarms"),
            Box("retraining", 2, 3, "service", "data to model and verdict"),
            Box("MLflow", 3, 3, "store", "runs, registered models"),
            Box("data", 2, 4, "outside", "the product's source"),
        ),
        (
            Arrow("client", "inference", "predict"),
            Arrow("inference", "feature-serving", "entity"),
            Arrow("feature-serving", "online store", "reads"),
            Arrow("feature_repo", "online store", "materialize"),
            Arrow("inference", "prediction-log", "records"),
            Arrow("prediction-log", "database", "shipped"),
            Arrow("database", "console", "all of it"),
            Arrow("promotion", "database", "ledger", -40, 60),
            Arrow("promotion", "inference", "release, or back", 0, 60),
            Arrow("database", "drift-profiling", "predictions, actuals"),
            Arrow("drift-profiling", "retraining", "retrain request"),
            Arrow("feature_repo", "retraining", "features", 0, 60),
            Arrow("retraining", "promotion", "verdict"),
            Arrow("retraining", "MLflow", "model"),
            Arrow("data", "retraining", "rows"),
        ),
    ),
    "request.svg": Picture(
        "A request, from the client to the log",
        (
            Box("body", 0, 0, "outside", "JSON, CSV, tensors"),
            Box("validate", 1, 0, "service", "types, ranges, levels"),
            Box("lookup", 2, 0, "service", "the request's value wins"),
            Box("impute", 3, 0, "service", "what is missing"),
            Box("feature serving", 2, 1, "store", "features of the entity"),
            Box("predict", 3, 1, "service", "micro-batches, one model"),
            Box("respond", 3, 2, "service", "value and interval"),
            Box("log", 2, 2, "service", "one record"),
            Box("spool", 1, 2, "store", "a file beside the process"),
            Box("database", 0, 2, "store", "the prediction log"),
            Box("answer", 3, 3, "outside", "to the client"),
        ),
        (
            Arrow("body", "validate", "parsed"),
            Arrow("validate", "lookup", "matrix"),
            Arrow("lookup", "impute", "merged"),
            Arrow("feature serving", "lookup", "values, ages"),
            Arrow("impute", "predict", "whole rows"),
            Arrow("predict", "respond", "outputs"),
            Arrow("respond", "log", "record"),
            Arrow("log", "spool", "one write"),
            Arrow("spool", "database", "shipped"),
            Arrow("respond", "answer", "once logged"),
        ),
    ),
    "model.svg": Picture(
        "The life of a model",
        (
            Box("data", 0, 0, "outside", "and labelled predictions"),
            Box("retraining", 1, 0, "service", "model package"),
            Box("gate", 2, 0, "service", "beside the one in service"),
            Box("dark", 3, 0, "service", "same requests, no users"),
            Box("drift", 0, 1, "service", "asks for a retraining"),
            Box("rejected", 2, 1, "outside", "with the reason"),
            Box("shadow", 3, 1, "service", "users' requests, unseen"),
            Box("watch", 1, 2, "service", "errors, latency, actuals"),
            Box("release", 2, 2, "service", "every answer"),
            Box("canary", 3, 2, "service", "a share of the users"),
            Box("rolled back", 1, 3, "outside", "to the last good model"),
        ),
        (
            Arrow("data", "retraining", "rows"),
            Arrow("retraining", "gate", "candidate"),
            Arrow("gate", "dark", "pass"),
            Arrow("gate", "rejected", "fail"),
            Arrow("dark", "shadow", "alike"),
            Arrow("shadow", "canary", "alike"),
            Arrow("canary", "release", "healthy"),
            Arrow("release", "watch", "serves"),
            Arrow("watch", "drift", "log, actuals"),
            Arrow("watch", "rolled back", "a breach"),
            Arrow("drift", "retraining", "confirmed"),
        ),
    ),
}
# Each scheme has its own ground: a page may be dark where the reader's system is light.
STYLE = """
svg { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; color-scheme: light dark }
.ground { fill: #fff } .name { fill: #1a1e25; font-size: 16px; font-weight: 600 }
.text { fill: #4a525e; font-size: 12.5px }
.box { stroke-width: 1.5 } .service { fill: #dbe5f9; stroke: #2456c4 } .store { fill: #e9f5ee; stroke: #16713f }
.outside { fill: #f5f6f8; stroke: #59626f }
.line { fill: none; stroke: #59626f; stroke-width: 1.5 } .head { fill: #59626f }
@media (prefers-color-scheme: dark) {
.ground { fill: #0f1216 } .name { fill: #e7eaee } .text { fill: #b4bcc8 }
.service { fill: #22304a; stroke: #8ab1ff } .store { fill: #14281d; stroke: #5ccb8f }
.outside { fill: #171b21; stroke: #a0a9b6 } .line { stroke: #a0a9b6 } .head { fill: #a0a9b6 }
}
"""
HEAD = '<marker id="head" viewBox="0 0 10 10" refX="4" refY="5" markerWidth="7" markerHeight="7" orient="auto">'


def _corner(box: Box) -> tuple[int, int]:
    return MARGIN + box.column * COLUMN, TOP + box.row * ROW


def _box(box: Box) -> str:
    x, y = _corner(box)
    middle = x + WIDTH // 2
    return (
        f'<rect class="box {box.kind}" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="9"/>\n'
        f'<text class="name" x="{middle}" y="{y + 27}" text-anchor="middle">{escape(box.name)}</text>\n'
        f'<text class="text" x="{middle}" y="{y + 47}" text-anchor="middle">{escape(box.text)}</text>\n'
    )


def _arrow(arrow: Arrow, boxes: dict[str, Box]) -> str:
    source, target = boxes[arrow.source], boxes[arrow.target]
    (x, y), (to_x, to_y) = _corner(source), _corner(target)
    if source.row == target.row:
        step = 1 if to_x > x else -1
        begin, end = (x + WIDTH, to_x - TIP) if step > 0 else (x, to_x + WIDTH + TIP)
        middle = y + HEIGHT // 2
        return _line(f"M{begin} {middle}H{end}", (begin + end) // 2, middle - 8, "middle", arrow.text)
    step = 1 if to_y > y else -1
    begin, end = (y + HEIGHT, to_y - TIP) if step > 0 else (y, to_y + HEIGHT + TIP)
    leave, reach = x + WIDTH // 2 + arrow.leave, to_x + WIDTH // 2 + arrow.reach
    halfway = (y + to_y + HEIGHT) // 2
    if source.column == target.column:
        return _line(f"M{leave} {begin}V{end}", leave - 9, halfway + 4, "end", arrow.text)
    return _line(f"M{leave} {begin}V{halfway}H{reach}V{end}", (leave + reach) // 2, halfway - 8, "middle", arrow.text)


def _line(path: str, x: int, y: int, anchor: str, text: str) -> str:
    label = f'<text class="text" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
    return f'<path class="line" marker-end="url(#head)" d="{path}"/>\n{label}\n'


def drawn(picture: Picture) -> str:
    """The picture, as SVG."""
    boxes = {box.name: box for box in picture.boxes}
    width = 2 * MARGIN + max(box.column for box in picture.boxes) * COLUMN + WIDTH
    height = 2 * TOP + max(box.row for box in picture.boxes) * ROW + HEIGHT
    description = "; ".join(f"{arrow.source} to {arrow.target}: {arrow.text}" for arrow in picture.arrows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">\n'
        f"<title>{escape(picture.title)}</title>\n<desc>{escape(description)}.</desc>\n<style>{STYLE}</style>\n"
        f'<defs>{HEAD}<path class="head" d="M0 0L10 5L0 10z"/></marker></defs>\n'
        f'<rect class="ground" width="{width}" height="{height}" rx="12"/>\n'
        + "".join(_arrow(arrow, boxes) for arrow in picture.arrows)
        + "".join(_box(box) for box in picture.boxes)
        + "</svg>\n"
    )


if __name__ == "__main__":
    for name, described in PICTURES.items():
        (IMAGES / name).write_text(drawn(described), encoding="utf-8")
