"""Errors: stable codes, client statuses, one shape; ids; and log lines that carry the ids of their request."""

import contextvars
import json
import logging
import warnings

import msgspec
import pytest
from support.log_setup import kept_log_setup

from beacon_core.domain.error_codes import STATUS_OF
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.ids import TIME_DIGITS, is_client_id, new_id, new_ids
from beacon_core.observability import logs

SERVER_FAULTS = {
    "overloaded": 503,
    "feature_store_unavailable": 503,
    "model_not_ready": 503,
    "prediction_log_unavailable": 503,
    "registry_unavailable": 503,
    "explainer_unavailable": 503,
    "issuer_unavailable": 503,
    "internal": 500,
}


def test_only_the_servers_own_faults_are_5xx():
    assert {code: status for code, status in STATUS_OF.items() if status >= 500} == SERVER_FAULTS
    assert all(400 <= status < 500 for code, status in STATUS_OF.items() if code not in SERVER_FAULTS)


@pytest.mark.parametrize("code", STATUS_OF)
def test_an_error_has_its_codes_status_and_the_one_shape(code):
    error = BeaconError(code, "why", "features.RM")
    assert error.status == STATUS_OF[code]
    assert error.body("r") == {"error": "why", "code": code, "field": "features.RM", "request_id": "r"}


def test_a_code_that_is_not_in_the_table_cannot_be_raised():
    with pytest.raises(KeyError):
        BeaconError("surprise", "why")


def test_an_error_can_always_be_encoded():
    body = BeaconError("unknown_feature", "unknown \ud800", "features.\udfff").body("r")
    assert msgspec.json.decode(msgspec.json.encode(body))["field"] == "features.?"


def test_ids_are_distinct_and_sort_by_time():
    made = [new_id() for _ in range(100)]
    assert len(set(made)) == 100
    assert all(len(name) == 32 and is_client_id(name) for name in made)
    assert [name[:12] for name in made] == sorted(name[:12] for name in made)


def test_the_ids_of_one_request_sort_by_row_and_share_what_no_other_has():
    made, other = new_ids(1000), new_ids(1)
    assert sorted(set(made)) == made
    assert all(len(name) == 32 and is_client_id(name) for name in made)
    assert {name[:28] for name in made} == {made[0][:28]}
    assert other[0][:28] != made[0][:28]
    assert [name[:TIME_DIGITS] for name in made] <= [other[0][:TIME_DIGITS]] * 1000


@pytest.mark.parametrize("text", ["", ".a", "-a", "a" * 65, "a b", "a\n", "a\r\nb", "ä", "a/b", "\x1b[31m", "a\x00"])
def test_what_could_harm_a_log_or_a_path_is_no_client_id(text):
    assert not is_client_id(text)


@pytest.mark.parametrize("text", ["a", "A" * 64, "9", "order-1:retry.2_x"])
def test_plain_words_are_client_ids(text):
    assert is_client_id(text)


@pytest.fixture
def written(capfd):
    """Runs some code under JSON logs, and gives the lines it wrote."""

    def run(work):
        logs.configure_logging("inference", "1.2", "INFO")
        work()
        return [json.loads(line) for line in capfd.readouterr().err.splitlines()]

    with kept_log_setup():
        yield run


def test_a_record_is_one_json_line_with_the_ids_of_its_request(written):
    def work():
        outer = logs.request_id.set("r-1"), logs.trace_id.set("t-1")
        logging.getLogger("some.library").warning("two\nlines \x1b[31m\r\n%s", "x", extra={"rows": 3})
        logs.request_id.reset(outer[0])
        logs.trace_id.reset(outer[1])

    (line,) = written(work)
    assert line["message"] == "two\nlines \x1b[31m\r\nx"
    assert (line["level"], line["logger"], line["rows"]) == ("WARNING", "some.library", 3)
    assert (line["request_id"], line["trace_id"]) == ("r-1", "t-1")
    assert (line["service"], line["version"]) == ("inference", "1.2")
    assert line["time"].startswith("20")


def test_outside_of_a_request_the_ids_are_null_and_quiet_levels_are_left_out(written):
    def work():
        logging.getLogger("x").debug("quiet")
        logging.getLogger("x").error("loud")

    (line,) = written(lambda: contextvars.Context().run(work))  # a job that ran in this process has left its trace
    assert (line["message"], line["request_id"], line["trace_id"]) == ("loud", None, None)


def test_an_exception_is_one_line_with_its_stack(written):
    def work():
        try:
            raise ValueError("deep")
        except ValueError:
            logging.getLogger("x").exception("failed")

    (line,) = written(work)
    assert "ValueError: deep" in line["exc_info"]


def test_a_warning_becomes_a_log_line(written):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        (line,) = written(lambda: warnings.warn("old way", UserWarning, stacklevel=1))
    assert line["logger"] == "py.warnings"
    assert "old way" in line["message"]
