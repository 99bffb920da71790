"""Commits to the lake: files come and go at once, and with them the marks of the spools whose blocks they are."""

from collections.abc import Mapping, Sequence

from pyiceberg.exceptions import ValidationException
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from beacon_core.data.prediction_log.lake.lake import CommitConflict, mapped_errors

NO_PROPERTIES: Mapping[str, str] = {}


def commit(
    table: Table,
    *,
    added: Sequence[DataFile] = (),
    removed: Sequence[DataFile] = (),
    properties: Mapping[str, str] = NO_PROPERTIES,
) -> None:
    """Commit to the table as it was loaded; raises `CommitConflict`, and changes nothing, where it is another by now.

    Any other error leaves open whether the commit came about.
    """
    try:
        with mapped_errors():
            transaction = table.transaction()
            if properties:
                transaction.set_properties(dict(properties))
            if added or removed:
                update = transaction.update_snapshot()
                producer = update.overwrite() if removed else update.merge_append()
                for file in removed:
                    producer.delete_data_file(file)
                for file in added:
                    producer.append_data_file(file)
                producer.commit()
            transaction.commit_transaction()
    except ValidationException as error:  # a file that was to be removed is gone
        raise CommitConflict(str(error)) from error
