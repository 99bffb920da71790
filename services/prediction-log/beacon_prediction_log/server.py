"""The socket on which inference asks: one question and its answer per connection, each by a thread of its own."""

import contextlib
import logging
import os
import shutil
import socketserver
import tempfile
import threading
from pathlib import Path
from typing import ClassVar

import msgspec

from beacon_core.domain.masking import message_with_type
from beacon_core.platform.framing import LENGTH, framed
from beacon_core.spool.messages import SOCKET, Unavailable, decode_question, encode, is_too_long
from beacon_prediction_log.answers import Answers

log = logging.getLogger(__name__)

QUESTION_SECONDS = 10.0
"""How long a question may take to come, and its answer to be taken."""


class _Handler(socketserver.StreamRequestHandler):
    timeout = QUESTION_SECONDS
    answers: ClassVar[Answers]

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # who asked waits no longer
            head = self.rfile.read(LENGTH.size)
            if len(head) == LENGTH.size:
                self.wfile.write(framed(self._answer(self.rfile.read(LENGTH.unpack(head)[0]))))

    def _answer(self, content: bytes) -> bytes:
        try:
            return encode(self.answers.answer(decode_question(content)))
        except msgspec.DecodeError as error:
            log.error("a question cannot be read", extra={"reason": message_with_type(error)})
        except Exception:
            log.exception("a question cannot be answered")
        return encode(Unavailable())


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


class AnswerServer:
    """Listens in the spool's folder from its making on; only this user may connect."""

    def __init__(self, folder: Path, answers: Answers) -> None:
        self._path = folder / SOCKET
        self._elsewhere = tempfile.mkdtemp(prefix="beacon-log-") if is_too_long(self._path) else None
        place = self._path if self._elsewhere is None else Path(self._elsewhere, SOCKET)
        self._path.unlink(missing_ok=True)  # a killed process leaves its own; the lock says that there is no other
        mask = os.umask(0o177)
        try:
            self._server = _Server(str(place), type("Handler", (_Handler,), {"answers": answers}))
        finally:
            os.umask(mask)
        if place != self._path:
            self._path.symlink_to(place)
        self._thread = threading.Thread(target=self._server.serve_forever, name="answers", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether questions are answered."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Take no more questions."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)
        if self._elsewhere is not None:
            shutil.rmtree(self._elsewhere, ignore_errors=True)
