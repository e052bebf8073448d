"""Where the ledger of a sweep is kept: an SQLite file, or a database that several machines reach."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from metseg.base.errors import MetsegError

_CONNECT_SECONDS = 10
_TAKE_CONNECT_TIMEOUT = ("psycopg", "psycopg2", "mysqldb", "pymysql")
# What pip calls a driver, where SQLAlchemy or Python call it otherwise.
_PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "mysqldb": "mysqlclient"}


def study_url(folder: Path) -> str:
    """Returns the address of a sweep's own ledger."""
    return f"sqlite:///{Path(folder).absolute() / 'study.db'}"


def without_password(url: str) -> str:
    """Returns an address for people; of a password that holds an @, all up to the last one is hidden."""
    hidden = re.sub(r"(://[^:/@?]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&]pass[^=&]*)=[^&]*", r"\1=***", hidden)


def open_storage(url: str) -> RDBStorage:
    """Opens the storage at an address of SQLAlchemy's, and makes its tables if they are not there.

    Raises:
        MetsegError: The address is none of a database, its driver is not installed, or it cannot be reached.
    """
    address = _address(url)
    arguments, driver = {}, address.get_driver_name()
    if driver in _TAKE_CONNECT_TIMEOUT and "connect_timeout" not in address.query:
        arguments["connect_timeout"] = (
            _CONNECT_SECONDS  # a server that takes no notice is waited for for good
        )
    # Asked before each use: a server that was started anew meanwhile stops no sweep.
    options = {"pool_pre_ping": True, "connect_args": arguments}
    is_file = address.get_backend_name() == "sqlite"
    remedy = "check its path" if is_file else "check host, port, database, user, password and rights"
    try:
        return RDBStorage(url, engine_kwargs=options)
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise MetsegError(
            f"cannot open the ledger {without_password(url)} ({_why(error)}); {remedy}"
        ) from None


def _address(url: str) -> URL:
    """Takes an address apart and finds its driver, or complains."""
    start = f"cannot open the ledger {without_password(url) or 'at an empty address'}"
    try:
        address = make_url(url)
        dialect = address.get_dialect()
        if dialect.is_async:
            raise ValueError("asynchronous")
    except (SQLAlchemyError, ValueError):
        raise MetsegError(
            f"{start}: it is no address of a database; write postgresql://USER:PASSWORD@HOST/DATABASE, with "
            "%40 for an @ in the password, or sqlite:///FILE"
        ) from None
    try:
        dialect.import_dbapi()
    except ImportError as error:
        known = _PACKAGES.get(address.get_driver_name())
        package = known or (error.name or address.get_driver_name()).partition(".")[0]
        raise MetsegError(f"{start}: its driver is missing; install it: pip install '{package}'") from None
    return address


@contextmanager
def ledger_errors_told(url: str | None = None) -> Iterator[None]:
    """Turns what a storage under way raises into a `MetsegError`; nothing that was entered is lost."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        where = f" {without_password(url)}" if url else ""
        raise MetsegError(
            f"cannot write the ledger{where} ({_why(error)}); mend that, and start the sweep again: it goes "
            "on where it stopped"
        ) from None


def _why(error: Exception) -> str:
    """Returns the first line of what a database said, without its exception's name."""
    text = str(error.__cause__ or error).strip().partition("\n")[0]
    return re.sub(r"^\(\w[\w.]*\) ", "", text) or type(error).__name__
