"""A model in ONNX Runtime as serving runs it: retraining measures and checks a model in the same way."""

from onnxruntime import InferenceSession, RunOptions, SessionOptions

from beacon_core.model_package.batch_model import BatchModel

WARNINGS_OFF = 3


def open_session(content: bytes) -> InferenceSession:
    """The model on one thread; ONNX Runtime's own exceptions are raised for content that is no model."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = WARNINGS_OFF
    # ONNX Runtime's arena keeps the memory of the largest batch, 15 MB, and is no faster.
    options.enable_cpu_mem_arena = False
    return InferenceSession(content, options, providers=["CPUExecutionProvider"])


def open_batch_model(content: bytes) -> BatchModel:
    """The form for batches, which runs only what an output needs."""
    parts_only = RunOptions()
    parts_only.only_execute_path_to_fetches = True
    return BatchModel(open_session(content), parts_only)
