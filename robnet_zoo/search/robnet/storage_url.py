"""Storages as users name them: shown without a password, and their errors in one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from robnet_zoo.runtime.errors import ZooError

JOURNAL = "journal:"  # begins the storage that is a file of Optuna's JournalStorage
HIDDEN = "..."
UNREADABLE = "it cannot be read; write an @, / or : of a password as %40, %2F or %3A"
LONGEST = 200  # letters of a driver's message that are shown
DRIVERS = "install its driver, such as pip install 'psycopg[binary]' for PostgreSQL"


def shown(url: str) -> str:
    """Return a storage's URL without its password and its options, which may hold another one.

    Of a URL that cannot be read for certain nothing but its beginning is shown.
    """
    if url.startswith(JOURNAL) or ("@" not in url and "://" not in url):
        return url
    unsure = (url.partition("://")[0] + "://" if "://" in url else "") + HIDDEN
    try:
        parts = make_url(url)
    except (SQLAlchemyError, ValueError):
        return unsure
    if url.count("@") > 1:  # an @ in a password would pass for its end
        return unsure
    return parts.set(password=None, query={}).render_as_string()


@contextmanager
def storage_errors(url: str, what: str, remedy: str) -> Iterator[None]:
    """Raise the errors of a storage within the block as a ZooError of one sentence.

    Args:
        url: as the user named it.
        what: what could not be done, such as "cannot be opened".
        remedy: what to do.
    """
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        behind: BaseException | None = error  # Optuna stumbles over some of its storage's errors
        while behind and not isinstance(behind, (SQLAlchemyError, StorageInternalError)):
            behind = behind.__cause__ or behind.__context__
        if behind is None:
            raise
        raise storage_error(url, what, behind, remedy) from None


def storage_error(url: str, what: str, error: BaseException, remedy: str) -> ZooError:
    """Return the error of a storage as one sentence, without anything of a password.

    Tracebacks of the cause are left out, since drivers may quote the URL in them.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    reason = " ".join(str(error).split())[:LONGEST].rstrip(". ") or type(error).__name__
    if shown(url).endswith(HIDDEN):  # what the driver takes for a host may be of the password
        reason = UNREADABLE
    elif any(secret in reason for secret in _secrets(url)):
        reason = type(error).__name__
    if isinstance(error, ImportError):
        remedy = DRIVERS
    return ZooError(f"The storage '{shown(url)}' {what}: {reason}; {remedy}.")


def _secrets(url: str) -> set[str]:
    """Return all parts of a URL that might be of a password, quoted and not."""
    account = url.rpartition("@")[0].partition("://")[2]
    options = re.findall(r"(?:pass|pwd)\w*=([^&]*)", url)
    texts = [
        text for part in (account.partition(":")[2], *options) for text in (part, unquote(part))
    ]
    return {word for text in texts for word in [text, *re.split(r"\W+", text)] if len(word) > 2}
