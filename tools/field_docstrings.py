"""The docstrings of a class's fields: texts below assignments, which Python itself does not keep."""

import ast


def field_docstrings(body: list[ast.stmt]) -> dict[str, str | None]:
    """The docstring of each annotated field in the body of a class; None where it has none."""
    found: dict[str, str | None] = {}
    for field, text in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            found[field.target.id] = str(text.value.value) if is_text else None  # type: ignore[union-attr]
    return found
