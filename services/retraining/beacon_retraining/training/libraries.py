"""The libraries whose versions a model follows from."""

LIBRARIES = ("scikit-learn", "numpy", "onnx", "onnxruntime")
"""What a model follows from, beside Beacon's own code."""
