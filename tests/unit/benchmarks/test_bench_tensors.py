"""The bench's binary tensors are those of a client that others wrote, both ways."""

import json

import numpy as np
import pytest
from harness.tensors import decode, encode, write_requests
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

ROWS = [{"a": 1.0, "b": 2.5}, {"a": -3.0, "b": 1e-300}, {"a": 7, "b": 0.1}]


def test_a_request_is_the_one_of_tritons_client() -> None:
    tensor = InferInput("rows", [3, 2], "FP64")
    tensor.set_data_from_numpy(np.array([list(row.values()) for row in ROWS], np.float64))
    wanted = [InferRequestedOutput("prediction", binary_data=True)]
    body, size = InferenceServerClient.generate_request_body([tensor], outputs=wanted)
    head, content = encode(ROWS, "prediction")
    assert json.loads(head) == json.loads(body[:size])
    assert content == body[size:]


def test_an_answer_is_read_by_the_names_of_its_outputs() -> None:
    outputs = [
        {"name": "low", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}},
        {"name": "prediction", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}},
    ]
    head = json.dumps({"outputs": outputs}).encode()
    content = head + np.array([1.0, 2.0, 3.0, 4.0]).tobytes()
    assert decode(content, len(head), "prediction") == [3.0, 4.0]
    assert decode(content, len(head), "low") == [1.0, 2.0]
    with pytest.raises(ValueError, match="no binary output high"):
        decode(content, len(head), "high")


def test_an_answer_in_json_is_no_binary_answer() -> None:
    head = b'{"outputs":[{"name":"prediction","datatype":"FP64","shape":[1],"data":[1.0]}]}'
    with pytest.raises(ValueError, match="no binary output"):
        decode(head, len(head), "prediction")


def test_a_file_has_requests_of_one_size(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.tensors.WORK", tmp_path)
    bodies = write_requests("x", [ROWS, ROWS[::-1]], "prediction")
    content = bodies.file.read_bytes()
    assert len(content) == 2 * bodies.body_bytes
    assert json.loads(content[bodies.body_bytes :][: bodies.head_bytes])["inputs"][0]["shape"] == [3, 2]
