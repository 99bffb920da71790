"""Rows that a client sends: pushed to both stores, or written to the online store alone."""

from feast.data_source import PushMode
from feast.errors import PushSourceNotFoundException

from beacon_core.platform import clock
from beacon_feature_serving.errors import feast_error
from beacon_feature_serving.writing.bodies import PUSH_MODES, PushBody, WriteBody
from beacon_feature_serving.writing.tables import to_table
from beacon_feature_serving.writing.writer import Writer


def push(writer: Writer, body: PushBody, most_rows: int) -> None:
    """Write rows to the online store, the offline store or both, for every view that the source feeds."""
    if body.to not in PUSH_MODES:
        raise feast_error("invalid_body", f"to: {body.to} is none of {', '.join(PUSH_MODES)}", "to")
    with writer.exclusive():
        views = [
            view
            for view in writer.store.list_feature_views(allow_cache=body.allow_registry_cache)
            if view.stream_source is not None and view.stream_source.name == body.push_source_name
        ]
        if not views:
            message = str(PushSourceNotFoundException(body.push_source_name))
            raise feast_error("not_found", message, "push_source_name", kind=PushSourceNotFoundException.__name__)
        table = to_table(views[0], body.df, clock.now(), most_rows)
        to = PUSH_MODES[body.to]
        # An online store that does not answer is found out by this read, before anything is written.
        newer = table if to is PushMode.OFFLINE else writer.newer_rows(views[0], table)
        # Offline first: what serving has shown, training must be able to see. A retry repeats no row.
        for view in views:
            if to is not PushMode.ONLINE:
                writer.write_offline(view, table)
            if to is not PushMode.OFFLINE and len(newer):
                writer.write_online(view, newer)


def write_online(writer: Writer, body: WriteBody, most_rows: int) -> None:
    """Write rows of one view to the online store."""
    with writer.exclusive():
        view = writer.view(body.feature_view_name, cached=body.allow_registry_cache)
        rows = writer.newer_rows(view, to_table(view, body.df, clock.now(), most_rows))
        if len(rows):
            writer.write_online(view, rows)
