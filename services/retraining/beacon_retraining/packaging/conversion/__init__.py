"""Conversion: an estimator or a file of another library as a package's ONNX graph, compared with the original."""
