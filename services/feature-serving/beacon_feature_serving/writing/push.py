"""Rows that a client sends: pushed to both stores, or written to the online store alone."""

from feast.data_source import PushMode
from feast.errors import PushSourceNotFoundException

from beacon_core.platform import clock
from beacon_feature_serving.errors import feast_error
from beacon_feature_serving.writing.bodies import PUSH_MODES, PushBody, WriteBody
from beacon_feature_serving.writing.frames import to_frame
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
        frame = to_frame(views[0], body.df, clock.now(), most_rows)
        to = PUSH_MODES[body.to]
        # An online store that does not answer is found out by this read, before anything is written.
        newer = frame if to is PushMode.OFFLINE else writer.newer_rows(views[0], frame)
        # Offline first: what serving has shown, training must be able to see. A retry repeats no row.
        for mode, rows in ((PushMode.OFFLINE, frame), (PushMode.ONLINE, newer)):
            if to in {mode, PushMode.ONLINE_AND_OFFLINE} and len(rows):
                writer.store.push(body.push_source_name, rows, body.allow_registry_cache, mode)


def write_online(writer: Writer, body: WriteBody, most_rows: int) -> None:
    """Write rows of one view to the online store."""
    with writer.exclusive():
        view = writer.view(body.feature_view_name, cached=body.allow_registry_cache)
        rows = writer.newer_rows(view, to_frame(view, body.df, clock.now(), most_rows))
        if len(rows):
            writer.store.write_to_online_store(view.name, rows, allow_registry_cache=body.allow_registry_cache)
