"""The libraries whose versions a model depends on."""

LIBRARIES = ("scikit-learn", "numpy", "onnx", "onnxruntime")
"""Their versions are part of a model's code digest, beside Beacon's own code."""
