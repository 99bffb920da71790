"""Each error has one name, and each name is one error: who catches it need not ask whose it is."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_no_two_errors_of_the_services_share_a_name():
    homes = defaultdict(list)
    for file in sorted((ROOT / "services").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                homes[node.name].append(file.relative_to(ROOT).as_posix())
    assert len(homes) > 40
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
