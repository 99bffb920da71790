"""Kaggle's client in a process of its own: `python -m beacon_retraining.data.kaggle_download OWNER/NAME FOLDER`.

Importing the client authenticates, it may end the process, it prints, and it has no time limit; a process can have
one. It ends with 0 and the zip in FOLDER, or with 1 and a `DownloadFailure` as its last line.
"""

import contextlib
import functools
import io
import sys

import msgspec
import requests

from beacon_core.domain.masking import message_of


class DownloadFailure(msgspec.Struct, frozen=True):
    """Why there is no file: the HTTP status (0: no response), a message, and how many seconds to wait."""

    status: int
    message: str
    retry_after: float | None = None


def download(slug: str, folder: str) -> DownloadFailure | None:
    """Download the data set's zip into `folder`, never resuming an earlier try."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import kaggle  # noqa: PLC0415

            # The import swallows a failure to authenticate; a second call says why, and ends the process.
            kaggle.api.authenticate()
            # Its own retry appends to the bytes before the cut, and requests the rest without the query of the first.
            kaggle.api.download_file = functools.partial(kaggle.api.download_file, max_retries=0)
            kaggle.api.dataset_download_files(slug, path=folder, force=True, quiet=True, unzip=False)
    except requests.HTTPError as error:
        response = error.response
        if response is None:
            return DownloadFailure(0, "no answer")
        # The message quotes neither body nor headers: one may be a page, the other holds the key.
        message = f"{response.status_code} {response.reason}"
        return DownloadFailure(response.status_code, message, _seconds(response.headers.get("Retry-After")))
    except requests.RequestException as error:
        return DownloadFailure(0, type(error).__name__)
    except SystemExit:
        return DownloadFailure(401, "the client found no valid credentials")
    except Exception as error:  # noqa: BLE001 - whatever the client raises is the end of this process
        return DownloadFailure(-1, message_of(error))
    return None


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; as a date it is not worth waiting for."""
    return float(text) if text is not None and text.isdecimal() else None


if __name__ == "__main__":
    failure = download(*sys.argv[1:])
    if failure is not None:
        sys.stdout.write(msgspec.json.encode(failure).decode())
        sys.exit(1)
