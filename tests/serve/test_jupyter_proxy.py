"""What jupyter-server-proxy is told of the dashboard."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import typer

from metseg.cli.app import app
from metseg.serve.jupyter_proxy import describe_dashboard
from metseg.serve.tokens import token_for

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
((NAME, TARGET),) = PROJECT["project"]["entry-points"]["jupyter_serverproxy_servers"].items()


def test_the_entry_point_leads_to_it():
    assert EntryPoint(NAME, TARGET, "").load() is describe_dashboard


def test_the_page_is_where_the_proxy_asks_for_it():
    program, command, *options = describe_dashboard()["command"]
    options = [option.format(base_url="/user/ada/", port=4711) for option in options]
    asked = typer.main.get_command(app).commands[command].make_context(command, options).params
    assert Path(program).name == "metseg"
    assert (asked["port"], asked["base_url"], asked["host"]) == (4711, f"/user/ada/{NAME}/", "127.0.0.1")


def test_the_proxy_alone_knows_the_token():
    one, other = describe_dashboard(), describe_dashboard()
    token = one["environment"]["METSEG_TOKEN"]
    assert token_for("127.0.0.1", token) == token != other["environment"]["METSEG_TOKEN"]
    assert one["request_headers_override"]["Authorization"] == f"token {token}"
    assert token not in " ".join(one["command"])
