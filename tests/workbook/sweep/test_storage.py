"""Where a ledger may be kept, and what is said of an address that is of no use."""

import importlib
import sys

import pytest
from optuna.exceptions import StorageInternalError

from metseg.base.errors import MetsegError
from metseg.workbook.sweep.storage import ledger_errors_told, open_storage, without_password


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("postgresql://me:secret@there/x", "psycopg", r"psycopg\[binary\]"),
        ("postgresql+psycopg2://me:secret@there/x", "psycopg2", "psycopg2-binary"),
        ("mysql://me:secret@there/x", "MySQLdb", "mysqlclient"),
        ("mysql+pymysql://me:secret@there/x", "pymysql", "pymysql"),
    ],
)
def test_a_driver_that_is_missing(monkeypatch, url, module, package):
    importlib.import_module("sqlalchemy.dialects")
    monkeypatch.setitem(sys.modules, module, None)  # importing it fails, installed or not
    with pytest.raises(MetsegError, match=f"me:[*]{{3}}@there/x.* pip install '{package}'"):
        open_storage(url)


@pytest.mark.parametrize(
    "url",
    ["", "study.db", "nosql://me:secret@there", "postgres://me:a@b/c@there:1/x", "sqlite+aiosqlite:///x"],
)
def test_no_address_of_a_database(url):
    with pytest.raises(MetsegError, match="postgresql://USER:PASSWORD@HOST/DATABASE") as error:
        open_storage(url)
    assert "secret" not in str(error.value) and "b/c" not in str(error.value)


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(MetsegError, match="nowhere/x.db .unable to open database file.; check its path"):
        open_storage(f"sqlite:///{tmp_path}/nowhere/x.db")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:p@ss:w/d@there:1/x", "postgresql://me:***@there:1/x"),
        ("postgresql://me@there/x", "postgresql://me@there/x"),
        ("postgresql:///x?host=a&password=b&user=me", "postgresql:///x?host=a&password=***&user=me"),
        ("sqlite:////home/a@b/study.db", "sqlite:////home/a@b/study.db"),
    ],
)
def test_passwords_are_not_shown(url, shown):
    assert without_password(url) == shown


def test_a_storage_that_fails_under_way():
    message = "ledger x://me:[*]{3}@there .disk is full.; .*goes on where it stopped"
    with pytest.raises(MetsegError, match=message), ledger_errors_told("x://me:secret@there"):
        raise StorageInternalError("trouble") from OSError("(psycopg.Error) disk is full\nmore")
