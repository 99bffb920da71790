"""The two halves on their socket: questions and answers, and what is neither."""

import asyncio
import socket
import stat

import pytest
from support.settings import Settings
from support.waiting import until

from beacon_core.domain.actuals import Actual
from beacon_core.platform.clock import now
from beacon_core.platform.framing import LENGTH, framed
from beacon_core.platform.locks import BusyError
from beacon_core.spool.messages import SOCKET, Unavailable, decode_answer, encode
from beacon_inference.prediction_log.client import LogClient, LogUnavailableError
from beacon_prediction_log.service import running


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def ask(settings, question):
    return asyncio.run(question(LogClient(settings.spool_dir)))


def sent(settings, content):
    """What comes back for bytes, as they are."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(settings.spool_dir / SOCKET))
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


def test_what_was_just_appended_is_found_and_can_have_an_actual(settings, open_log, make):
    other = open_log()  # inference's half alone
    with running(settings):
        assert other.append(make("a", "b"))
        found = ask(settings, lambda log: log.find(["b", "c"], actuals=True))
        assert (found.records, found.actuals) == ({"b": make("b")}, {})
        items = [Actual(21.5, now(), "test", prediction_id="b"), Actual(1.0, now(), "test", prediction_id="c")]
        refused = ask(settings, lambda log: log.add_actuals(items))
        assert (refused.unknown, refused.outcomes) == (1, [])
        for outcome in ("accepted", "duplicate"):
            assert ask(settings, lambda log: log.add_actuals(items[:1])).outcomes == [outcome]
        assert ask(settings, lambda log: log.find(["b"], actuals=True)).actuals["b"].value == 21.5
        other.writer.close()
        other.stopped = True


def test_the_socket_is_this_users_alone(settings):
    with running(settings):
        assert stat.S_IMODE((settings.spool_dir / SOCKET).stat().st_mode) == 0o600
    assert not (settings.spool_dir / SOCKET).exists()


@pytest.mark.parametrize("content", [b"\xc1 no msgpack", encode({"type": "Nothing"}), encode(["x"]), b""])
def test_what_is_no_question_is_answered_as_unavailable_and_the_rest_goes_on(settings, content):
    with running(settings):
        answer = sent(settings, framed(content))
        assert isinstance(decode_answer(answer[LENGTH.size :]), Unavailable)
        assert ask(settings, lambda log: log.find(["a"])).records == {}


@pytest.mark.parametrize("content", [b"", b"\x00", LENGTH.pack(100) + b"half"])
def test_half_a_question_disturbs_nobody(settings, content):
    with running(settings):
        sent(settings, content)
        assert ask(settings, lambda log: log.find(["a"])).records == {}


def test_nobody_there_a_hung_one_and_one_that_hangs_up_are_unavailable(settings):
    settings.spool_dir.mkdir(parents=True)
    with pytest.raises(LogUnavailableError):
        ask(settings, lambda log: log.find(["a"]))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(settings.spool_dir / SOCKET))
        server.listen()
        with pytest.raises(LogUnavailableError):
            ask(settings, lambda log: log.find(["a"], seconds=0.2))
    with pytest.raises(LogUnavailableError):
        ask(settings, lambda log: log.find(["a"]))


def test_a_killed_process_leaves_a_socket_that_is_no_obstacle(settings):
    settings.spool_dir.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(settings.spool_dir / SOCKET))
    with running(settings):
        assert ask(settings, lambda log: log.find([])).records == {}


def test_there_is_one_shipper_a_spool(settings):
    with running(settings), pytest.raises(BusyError, match="another process ships this spool"), running(settings):
        pass


def test_a_database_that_is_down_is_an_answer(settings, open_log, make):
    (settings.home / "beacon.db").mkdir()
    other = open_log()
    other.append(make("a"))
    with running(settings) as log:
        assert ask(settings, lambda log: log.find(["a"], actuals=True)).records == {"a": make("a")}
        with pytest.raises(LogUnavailableError):
            ask(settings, lambda log: log.find(["b"]))
        assert log.is_alive
        other.writer.close()
        other.stopped = True


def test_segments_that_are_shipped_go_when_nobody_writes_any_more(settings, open_log, make):
    other = open_log()
    other.append(make("a"))
    with running(settings) as log:
        until(lambda: log.tail.count_waiting() == 0, "it is shipped")
        assert len(list(settings.spool_dir.glob("*.jsonl"))) == 1, "inference may append to it"
        other.writer.close()
        other.stopped = True
    assert list(settings.spool_dir.glob("*.jsonl")) == []
    assert other.rows() == ["a"]
