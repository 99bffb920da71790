"""Erasure from the spool: whatever rows of whatever lines go, the rest is read as before, at the same offsets."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select
from support.settings import Settings
from support.whole_log import WholeLog

from beacon_core.data.database import migrate, open_store
from beacon_core.data.erasure import Subject
from beacon_core.data.tables import predictions
from beacon_core.spool.block import block_of
from beacon_core.spool.record import Record, encode_record
from beacon_prediction_log.erasing import erase
from beacon_prediction_log.service import running

MINE, OTHER = "mine", "other"


def record(name: str, entities: str, *, in_block: bool = False) -> Record:
    """A request; a row of each letter of `entities`, M for mine."""
    rows = len(entities)
    features = block_of(np.full((rows, 1), 1 / 3), ()) if in_block else [[1 / 3]] * rows
    return Record(
        ids=[f"{name}-{row}" for row in range(rows)], time=1e9, names=("area",), features=features,
        prediction=[1.0] * rows, low=[0.0] * rows, high=[2.0] * rows, version="1", sha256="a", latency=0.1,
        request_id=name, trace_id="t", entities=[MINE if letter == "M" else OTHER for letter in entities],
        input_digests=["d"] * rows,
    )  # fmt: skip


def logged(settings: Settings) -> set[str]:
    """What a server that starts on the spool ships from it."""
    with running(settings):
        pass
    engine = open_store(settings.database)
    migrate(engine)  # where nothing was shipped
    with engine.connect() as connection:
        found = set(connection.execute(select(predictions.c.id)).scalars())
    engine.dispose()
    return found


@pytest.fixture
def spool(tmp_path: Path) -> Callable[..., Settings]:
    def filled(*lines: bytes) -> Settings:
        settings = Settings(home=tmp_path)
        settings.spool_dir.mkdir()
        (settings.spool_dir / "00000001.jsonl").write_bytes(b"".join(lines))
        return settings

    return filled


SHAPES = [
    *(",".join(shape) for shape in product(("M", "O", "OM"), repeat=3)), "M", "OMO", "M,M,M,O,M,M", "MM,O,MM",
]  # fmt: skip


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, "O" * 40 + "M" + "O" * 40])
def test_only_the_rows_of_the_entity_go(
    spool: Callable[..., Settings], caplog: pytest.LogCaptureFixture, shape: str, in_block: bool
) -> None:
    records = [record(f"r{number}", entities, in_block=in_block) for number, entities in enumerate(shape.split(","))]
    lines = [encode_record(each) + b"\n" for each in records]
    settings = spool(*lines)
    segment = settings.spool_dir / "00000001.jsonl"
    rows = {name: entity for each in records for name, entity in zip(each.ids, each.entities or [], strict=True)}
    mine = {name for name, entity in rows.items() if entity == MINE}
    assert erase(settings, None, None, Subject(entity=MINE), dry_run=True).removed["spool"] == len(mine)
    assert segment.read_bytes() == b"".join(lines)
    assert erase(settings, None, None, Subject(entity=MINE), dry_run=False).removed["spool"] == len(mine)
    content = segment.read_bytes()
    assert len(content) == len(b"".join(lines))
    assert not any(name.encode() in content for name in (*mine, MINE))
    offset = 0
    for each, line in zip(records, lines, strict=True):
        kept = [name for name in each.ids if name not in mine]
        assert all(name.encode() in content[offset : offset + len(line)] for name in kept)
        offset += len(line)
    assert erase(settings, None, None, Subject(entity=MINE), dry_run=False).removed["spool"] == 0
    assert logged(settings) == set(rows) - mine
    assert "the spool has lines" not in caplog.text
    assert not (settings.spool_dir / "quarantine.txt").exists()


def test_an_id_goes_and_a_longer_one_stays(spool: Callable[..., Settings]) -> None:
    settings = spool(*(encode_record(record(name, "OO")) + b"\n" for name in ("a", "aa", "b")))
    assert erase(settings, None, None, Subject(ids=("a-0", "b-0", "b-1")), dry_run=False).removed["spool"] == 3
    assert logged(settings) == {"a-1", "aa-0", "aa-1"}


def test_a_server_goes_on_while_rows_go(tmp_path: Path) -> None:
    """Its offsets and its index stay true, also where the first line, or all of them, became blanks."""
    settings = Settings(home=tmp_path)
    log = WholeLog(tmp_path, ("area",))
    for number, entities in enumerate(("M", "MOM", "M", "O")):
        assert log.append(record(f"r{number}", entities))
    assert erase(settings, None, None, Subject(entity=MINE), dry_run=False).removed["spool"] == 4
    assert log.append(record("later", "O"))
    waiting = [name for name in ("r0-0", "r1-0", "r1-1", "r2-0", "r3-0", "later-0") if log.find_waiting([name])]
    assert waiting == ["r1-1", "r3-0", "later-0"]
    log.start()
    log.stop()
    assert logged(settings) == {"r1-1", "r3-0", "later-0"}
    assert not (settings.spool_dir / "quarantine.txt").exists()


def test_a_spool_of_the_entity_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    log = WholeLog(tmp_path, ("area",))
    assert log.append(record("r", "M"))
    assert erase(settings, None, None, Subject(entity=MINE), dry_run=False).removed["spool"] == 1
    assert log.append(record("later", "O"))
    assert log.find_waiting(["later-0"])
    log.start()
    log.stop()
    assert logged(settings) == {"later-0"}


def test_lines_that_are_no_records_go_where_they_name_it(spool: Callable[..., Settings]) -> None:
    settings = spool()
    file = settings.spool_dir / "quarantine.txt"
    file.write_bytes(b'{"old": "mine"}\n{"old": "mine too"}\nhalf a li\n')
    assert erase(settings, None, None, Subject(entity=MINE), dry_run=True).removed["quarantine"] == 1
    assert erase(settings, None, None, Subject(entity=MINE), dry_run=False).removed["quarantine"] == 1
    assert file.read_bytes() == b'{"old": "mine too"}\nhalf a li\n'
