"""Write docs/reference/errors.md from the table of error codes: `python -m tools.errors_page`."""

from pathlib import Path

from beacon_core.domain.error_codes import CODES
from tools.generated import table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "errors.md"
HEAD = """# Errors

`python -m tools.errors_page` writes this page from `beacon_core/domain/error_codes.py`.
Every error of inference and of the console has this body; feature serving's has Feast's shape:

    {"error": "area must be a number, not text", "code": "invalid_type", "field": "features.area", "request_id": "..."}

- `code` is stable: let programs decide by it, and people read `error`.
- `field` is the path of the value that is wrong, or null.
- `request_id` is in the logs, too.
- A 429 or 503 has the header Retry-After: the seconds after which the same request may pass.
- The metric `api_errors_total` counts errors by code, in its label `error_type`.

"""


def current() -> str:
    """The page as it should be."""
    order = sorted(CODES.items(), key=lambda item: item[1].status)
    rows = [(f"`{code}`", str(each.status), each.meaning, each.remedy) for code, each in order]
    return HEAD + table(("code", "status", "meaning", "what to do"), rows)


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
