"""Answers to inference's questions: from the spool where a prediction still waits there, else from its store."""

import logging

from beacon_core.data.database import DatabaseUnavailableError
from beacon_core.domain.actuals import LoggedActual
from beacon_core.spool.messages import AddActuals, Added, Answer, Find, FoundRecords, Question, Unavailable
from beacon_core.spool.record import Record
from beacon_prediction_log.database import Database
from beacon_prediction_log.tail import SpoolTail

log = logging.getLogger(__name__)


class Answers:
    """Reads the spool and the database."""

    def __init__(self, tail: SpoolTail, database: Database) -> None:
        self._tail = tail
        self._database = database

    def answer(self, question: Question) -> Answer:
        """Answer a question; a database that does not answer is an answer, too."""
        try:
            return self._add(question) if isinstance(question, AddActuals) else self._find(question)
        except DatabaseUnavailableError:
            return Unavailable()

    def find(self, ids: list[str]) -> dict[str, Record]:
        """Find predictions.

        Raises DatabaseUnavailableError when some are not in the spool and the database does not answer.
        """
        found = self._tail.find(ids)
        others = [name for name in ids if name not in found]
        return (found | self._database.find(others)) if others else found

    def _find(self, question: Find) -> FoundRecords:
        records = self.find(question.ids)
        return FoundRecords(records, self._actuals(records) if question.actuals else {})

    def _actuals(self, records: dict[str, Record]) -> dict[str, LoggedActual]:
        try:
            found = {name: self._database.find_actual(record) for name, record in records.items()}
        except DatabaseUnavailableError:
            return {}  # all records are still in the spool, so none can have an actual yet
        return {name: actual for name, actual in found.items() if actual is not None}

    def _add(self, question: AddActuals) -> Added:
        known = self.find([item.prediction_id for item in question.items if item.prediction_id is not None])
        for place, item in enumerate(question.items):
            if item.prediction_id is not None and item.prediction_id not in known:
                return Added(unknown=place)
        return Added(self._database.add_actuals(question.items))
