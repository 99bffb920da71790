"""What people leave in their homes and environments for Kaggle's client, and whether it works with that."""

from pathlib import Path
from typing import NamedTuple

TOKEN, SECRET = "KGAT_good", "a-key-of-kaggle"
BOTH = f'{{"username": "someone", "key": "{SECRET}"}}'


class Form(NamedTuple):
    """Variables (HOME in them is the home), files below the home, what is said, and whether the client gets in."""

    said: str
    works: bool = False
    variables: dict[str, str] = {}
    files: dict[str, bytes] = {}

    def variables_at(self, home: Path) -> dict[str, str]:
        """Write the files; the variables."""
        for name, content in self.files.items():
            file = home / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return {name: text.replace("HOME", str(home)) for name, text in self.variables.items()}


def token(name: str, content: bytes = TOKEN.encode()) -> dict[str, bytes]:
    return {name: content}


GOOD: dict[str, Form] = {
    "a token": Form("KAGGLE_API_TOKEN", True, {"KAGGLE_API_TOKEN": TOKEN}),
    "a token with a line break": Form("KAGGLE_API_TOKEN", True, {"KAGGLE_API_TOKEN": f"{TOKEN}\n"}),
    "a file of a token": Form("KAGGLE_API_TOKEN", True, {"KAGGLE_API_TOKEN": "HOME/t"}, token("t", b"KGAT_good\r\n")),
    "user and key": Form(
        "KAGGLE_USERNAME and KAGGLE_KEY", True, {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": f"{SECRET}\n"}
    ),
    "access_token": Form("/.kaggle/access_token", True, {}, token(".kaggle/access_token")),
    "access_token.txt alone": Form(
        "/.kaggle/access_token.txt", True, {}, token(".kaggle/access_token.txt", b"KGAT_good\n")
    ),
    "kaggle.json": Form("/.kaggle/kaggle.json", True, {}, {".kaggle/kaggle.json": BOTH.encode()}),
    "kaggle.json among settings": Form(
        "/.config/kaggle/kaggle.json", True, {}, {".config/kaggle/kaggle.json": BOTH.encode()}
    ),
    "a folder of one's own": Form(
        "/c/kaggle.json", True, {"KAGGLE_CONFIG_DIR": "HOME/c"}, {"c/kaggle.json": BOTH.encode()}
    ),
    "a user, and the key in kaggle.json": Form(
        "KAGGLE_USERNAME and ", True, {"KAGGLE_USERNAME": "someone"}, {".kaggle/kaggle.json": BOTH.encode()}
    ),
    "kaggle.json beside an empty token": Form(
        "/.kaggle/kaggle.json", True, {}, {".kaggle/kaggle.json": BOTH.encode(), ".kaggle/access_token": b"\n"}
    ),
}
BAD: dict[str, Form] = {
    "a user alone": Form("KAGGLE_USERNAME: KAGGLE_KEY is not set beside it", False, {"KAGGLE_USERNAME": "someone"}),
    "a key alone": Form("KAGGLE_KEY: KAGGLE_USERNAME is not set beside it", False, {"KAGGLE_KEY": SECRET}),
    "a user and an empty key": Form(
        "KAGGLE_USERNAME: KAGGLE_KEY is not set", False, {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": ""}
    ),
    "an empty file of a token": Form(
        "KAGGLE_API_TOKEN: is empty", False, {"KAGGLE_API_TOKEN": "HOME/t"}, token("t", b"")
    ),
    "a folder for a token": Form(
        "KAGGLE_API_TOKEN: cannot be read: Is a directory", False, {"KAGGLE_API_TOKEN": "HOME/t"}, token("t/x")
    ),
    "access_token, empty": Form("access_token: is empty", False, {}, token(".kaggle/access_token", b" \n")),
    "access_token.txt, empty": Form("access_token.txt: is empty", False, {}, token(".kaggle/access_token.txt", b"")),
    "access_token, a folder": Form("access_token: cannot be read", False, {}, token(".kaggle/access_token/x")),
    "access_token of two lines": Form(
        "access_token: holds a", False, {}, token(".kaggle/access_token", b"KGAT_a\nKGAT_b")
    ),
    "access_token.txt in UTF-16": Form(
        "access_token.txt: is not text", False, {}, token(".kaggle/access_token.txt", TOKEN.encode("utf-16"))
    ),
    "access_token among settings": Form(
        "access_token: is not read by Kaggle's client", False, {}, token(".config/kaggle/access_token")
    ),
    "kaggle.json, empty": Form("kaggle.json: is empty", False, {}, {".kaggle/kaggle.json": b""}),
    "kaggle.json, no JSON": Form("kaggle.json: is not JSON", False, {}, {".kaggle/kaggle.json": b"{username: me}"}),
    "kaggle.json, a list": Form("kaggle.json: is not a JSON object", False, {}, {".kaggle/kaggle.json": b"[]"}),
    "kaggle.json without a key": Form(
        "kaggle.json: has no text for 'key'", False, {}, {".kaggle/kaggle.json": b'{"username": "someone"}'}
    ),
    "kaggle.json.txt": Form("kaggle.json.txt: is not read", False, {}, {".kaggle/kaggle.json.txt": BOTH.encode()}),
    "kaggle (1).json": Form("kaggle (1).json: is not read", False, {}, {".kaggle/kaggle (1).json": BOTH.encode()}),
    "kaggle.json hidden by ~/.kaggle": Form(
        "kaggle.json: is not read", False, {}, {".kaggle/x": b"", ".config/kaggle/kaggle.json": BOTH.encode()}
    ),
    "a folder of one's own with nothing": Form("KAGGLE_CONFIG_DIR: ", False, {"KAGGLE_CONFIG_DIR": "HOME/c"}),
    "a folder of one's own, and the file at home": Form(
        "holds no kaggle.json", False, {"KAGGLE_CONFIG_DIR": "HOME/c"}, {".kaggle/kaggle.json": BOTH.encode()}
    ),
    "a token by another name": Form("KAGGLE_TOKEN: is not read by Kaggle's", False, {"KAGGLE_TOKEN": TOKEN}),
    "a key by another name": Form("KAGGLE_API_KEY: is not read", False, {"KAGGLE_API_KEY": SECRET}),
    "in small letters": Form("kaggle_key: is not read", False, {"kaggle_username": "me", "kaggle_key": SECRET}),
    "the path of no file": Form(
        "KAGGLE_API_TOKEN: cannot be read: No such file", False, {"KAGGLE_API_TOKEN": "HOME/t"}
    ),
    "a path that no shell has read": Form(
        "KAGGLE_API_TOKEN: cannot be read", False, {"KAGGLE_API_TOKEN": "~/.kaggle/access_token"}
    ),
    "credentials.json without a token": Form(
        "credentials.json: has no text for 'refresh_token'", False, {}, {".kaggle/credentials.json": b"{}"}
    ),
}
