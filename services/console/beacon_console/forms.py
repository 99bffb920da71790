"""Forms that people send: from our own pages alone, as browsers send forms."""

from flask import request

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import is_utf8

FORM = frozenset({"application/x-www-form-urlencoded"})


def check_form() -> None:
    """Refuse what another site sent, or what is no form; raises BeaconError."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise BeaconError("unauthorized", "This form was sent by another site.")
    if request.mimetype not in FORM or not is_utf8(request.headers["Content-Type"].encode("latin-1")):
        raise BeaconError("unsupported_media_type", "Send the form of this page.", "Content-Type")
