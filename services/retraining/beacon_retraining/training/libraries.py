"""The libraries whose versions a model depends on."""

import ast
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version

XGBOOST = "xgboost-cpu" if sys.platform == "linux" else "xgboost"
"""The distribution that holds XGBoost: on Linux the one without CUDA."""
LIBRARIES = ("scikit-learn", "numpy", "onnx", "onnxruntime", "optuna", XGBOOST)
"""Their versions are part of a model's code digest, beside Beacon's own code."""
CONVERTERS = ("skl2onnx", "onnxmltools")
"""What writes an entry point's estimator as ONNX."""


def versions_of(code: Mapping[str, str] | None = None) -> dict[str, str]:
    """The versions of a model's libraries; with the files of training code also of the converters and its imports."""
    names = set(LIBRARIES)
    if code is not None:
        distributions = packages_distributions()
        names |= {name for module in imported_modules(code) for name in distributions.get(module, ())}
        names |= set(CONVERTERS)
    found = {}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            if name in LIBRARIES:
                raise
    return found


def imported_modules(code: Mapping[str, str]) -> set[str]:
    """The first names of all modules that the files import, wherever in them."""
    sources = (text for file, text in code.items() if file.endswith(".py"))
    return {name.partition(".")[0] for text in sources for name in _imports(text)}


def _imports(text: str) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # Python says so when the code is imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
