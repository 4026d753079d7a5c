"""The address file of the embedded ClickHouse: one URL with generated credentials, for its owner only."""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

USER = "trucban"
DATABASE = "trucban"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whom the server lets in. The password stays the same as long as the address file does."""

    user: str
    password: str

    def admit(self, user: str, password: str) -> bool:
        """Whether these are the right ones; takes equally long for every wrong answer."""
        right_user = hmac.compare_digest(user.encode(), self.user.encode())
        return hmac.compare_digest(password.encode(), self.password.encode()) and right_user

    def url(self, host: str, port: int) -> str:
        """``http://USER:PASSWORD@HOST:PORT/trucban``: clickhouse-connect's DSN, and good for curl."""
        return f"http://{quote(self.user, safe='')}:{quote(self.password, safe='')}@{host}:{port}/{DATABASE}"


def address_file(data_dir: Path) -> Path:
    """Where the embedded server's address with credentials stands."""
    return data_dir / "run" / "clickhouse.url"


def load_credentials(path: Path) -> Credentials:
    """The credentials in an address file, or new ones where there is none."""
    try:
        parts = urlsplit(path.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return Credentials(USER, secrets.token_urlsafe(24))
    if not parts.username or not parts.password:
        return Credentials(USER, secrets.token_urlsafe(24))
    return Credentials(unquote(parts.username), unquote(parts.password))


def write_address(path: Path, url: str) -> None:
    """Write the address file, mode 0600, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(url + "\n")
    part.replace(path)
