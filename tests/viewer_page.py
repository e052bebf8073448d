"""A widget in a page of its own, with Python behind it and no kernel, server or network between."""

import base64
from contextlib import contextmanager

from anywidget import AnyWidget
from playwright.sync_api import Page

_MODEL = """async ([script, style, state]) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
  const listeners = {}, changed = {};
  const bytes = (base64) => Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
  const open = (value) => {
    if (value?.constructor !== Object) return value;
    if (value.base64 !== undefined) return bytes(value.base64);
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, open(each)]));
  };
  const model = window.model = {
    state: open(state),
    get: (name) => model.state[name],
    set: (name, value) => { changed[name] = value; model.take({ [name]: value }); },
    take: (values) => {
      const names = Object.keys(values).filter((name) => model.state[name] !== values[name]);
      Object.assign(model.state, values);
      for (const name of names) for (const each of listeners[`change:${name}`] ?? []) each();
    },
    on: (event, listener) => { (listeners[event] ??= []).push(listener); },
    save_changes: async () => {
      const sent = { ...changed };
      for (const name of Object.keys(changed)) delete changed[name];
      model.take(open(await toPython("update", sent)));
    },
    send: async (content) => model.take(open(await toPython("custom", content))),
  };
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  widget.render({ model, el: document.body });
}"""


def _plain(value):
    if isinstance(value, bytes | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    return {name: _plain(each) for name, each in value.items()} if isinstance(value, dict) else value


def show(page: Page, widget: AnyWidget) -> None:
    """Draws a widget in an empty page; what the page changes reaches it, and what it changes the page."""

    @contextmanager
    def changes():
        told = {}
        take = lambda change: told.__setitem__(change["name"], change["new"])  # noqa: E731
        widget.observe(take)
        yield told
        widget.unobserve(take)

    def to_python(kind: str, content: dict) -> dict:
        with changes() as told:
            if kind == "update":
                widget.set_state(content)
            else:
                widget._handle_custom_msg(content, [])
        return _plain({name: value for name, value in told.items() if name in widget.keys})

    page.set_content("<!doctype html><title>viewer</title>")
    page.expose_function("toPython", to_python)
    state = {name: value for name, value in widget.get_state().items() if not name.startswith("_")}
    style = "body { margin: 0; background: #fff }" + widget._css
    page.evaluate(_MODEL, [widget._esm, style, _plain({k: state[k] for k in state if k != "layout"})])
