"""The console's templates, compiled once a process: a console compiles them all at its start, for long."""

from io import BytesIO

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket


class SharedBytecode(BytecodeCache):
    """What Jinja compiled, by the name and the text of a template: a changed one is compiled anew."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket, if its template was compiled before."""
        found = self._compiled.get((bucket.key, bucket.checksum))
        if found is not None:
            bucket.load_bytecode(BytesIO(found))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled."""
        content = BytesIO()
        bucket.write_bytecode(content)
        self._compiled[bucket.key, bucket.checksum] = content.getvalue()


def share_compiled_templates() -> None:
    """Let all Flask applications of this process share them."""
    Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": SharedBytecode()}
