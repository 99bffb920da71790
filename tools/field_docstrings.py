"""The docstrings of a class's fields: texts below assignments, which Python itself does not keep."""

import ast


def field_docstrings(body: list[ast.stmt]) -> dict[str, str | None]:
    """The docstring of each annotated field in the body of a class; None where it has none."""
    found: dict[str, str | None] = {}
    for field, text in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            said = text.value if isinstance(text, ast.Expr) else None
            found[field.target.id] = str(said.value) if isinstance(said, ast.Constant) else None
    return found
