// As much of the widget protocol as anywidgets need. JupyterLab and Voilà's own pages bring theirs; with this one a
// page starts without their five megabytes.
class Model {
  #listeners = new Map();
  #changed = {};
  #sent = {};
  #awaited = null;

  constructor(manager, id, state) {
    Object.assign(this, { widget_manager: manager, id, state });
  }

  get(name) { return this.state[name]; }

  set(name, value) {
    if (this.state[name] === value) return;
    this.#changed[name] = value;
    this.#put(name, value);
  }

  // One update at a time: what changes while the kernel works on the last one goes together into the next.
  save_changes() {
    if (this.#awaited || !Object.keys(this.#changed).length) return;
    this.#sent = this.#changed;
    this.#changed = {};
    this.#awaited = this.#comm({ method: "update", state: this.#sent, buffer_paths: [] }, []);
  }

  send(content, callbacks, buffers = []) { this.#comm({ method: "custom", content }, buffers); }

  on(event, listener) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  off(event, listener) {
    this.#listeners.set(event, (this.#listeners.get(event) ?? []).filter((each) => each !== listener));
  }

  receive(data, buffers, parent) {
    if (data.method === "custom") this.#emit("msg:custom", data.content, buffers);
    else if (data.method === "update") this.update(withBuffers(data.state, data.buffer_paths, buffers), parent);
  }

  // What the kernel says of a value does not count if a newer one of this page's is on its way to it. Handlers run when
  // all values are in place, so that each sees the others.
  update(state, parent) {
    const isNewer = (name) => name in this.#changed || (name in this.#sent && parent !== this.#awaited);
    const names = Object.keys(state).filter((name) => state[name] !== this.state[name] && !isNewer(name));
    for (const name of names) this.state[name] = state[name];
    for (const name of names) this.#emit(`change:${name}`);
  }

  idle(parent) {
    if (parent !== this.#awaited) return;
    this.#awaited = null;
    this.#sent = {};
    this.save_changes();
  }

  #put(name, value) {
    this.state[name] = value;
    this.#emit(`change:${name}`);
  }

  #emit(event, ...values) {
    for (const listener of this.#listeners.get(event) ?? []) listener(...values);
  }

  #comm(data, buffers) {
    return this.widget_manager.kernel.send("comm_msg", { comm_id: this.id, data }, { buffers });
  }
}

function withBuffers(state, paths, buffers) {
  paths.forEach((path, k) => {
    const place = path.slice(0, -1).reduce((value, key) => value[key], state);
    place[path.at(-1)] = buffers[k];
  });
  return state;
}

class Manager {
  #models = new Map();
  #control = randomId();
  #opening = null;

  constructor(kernel) {
    this.kernel = kernel;
    kernel.connectionStatusChanged.connect((_, status) => status === "connected" && this.#askForAll());
    kernel.messages.connect((_, message) => this.#receive(message));
    this.models = new Promise((resolve) => { this.resolve = resolve; });
  }

  // At the start, and again after a lost connection, when updates may have been missed.
  #askForAll() {
    const options = { metadata: { version: "1.0.0" }, first: true };
    const control = { comm_id: this.#control, target_name: "jupyter.widget.control", data: {} };
    this.#opening = this.kernel.send("comm_open", control, options);
  }

  #receive({ header, parent_header, content, buffers = [] }) {
    if (header.msg_type === "status" && content.execution_state === "idle") {
      for (const model of this.#models.values()) model.idle(parent_header.msg_id);
      if (parent_header.msg_id !== this.#opening) return;
      this.kernel.settle(); // what was sent before the kernel was lost goes to it before it is asked
      // ipykernel looks ahead, and warns of a message to what is not open yet.
      this.kernel.send("comm_msg", { comm_id: this.#control, data: { method: "request_states" } });
    } else if (header.msg_type === "comm_msg" && content.data.method === "update_states") {
      const states = withBuffers(content.data.states, content.data.buffer_paths, buffers);
      for (const [id, { state }] of Object.entries(states)) {
        const known = this.#models.get(id);
        known ? known.update(state) : this.#models.set(id, new Model(this, id, state));
      }
      this.resolve(this.#models);
    } else if (header.msg_type === "comm_open") { // one that was made later
      const { state, buffer_paths = [] } = content.data;
      this.#models.set(content.comm_id, new Model(this, content.comm_id, withBuffers(state, buffer_paths, buffers)));
    } else if (header.msg_type === "comm_msg") {
      this.#models.get(content.comm_id)?.receive(content.data, buffers, parent_header.msg_id);
    }
  }

  // What anywidget gives a widget to show others in it, as `WidgetTrait` names them.
  async getWidget(reference) {
    return { render: ({ el }) => this.render(reference.replace("anywidget:", ""), el) };
  }

  async render(id, el) {
    const model = (await this.models).get(id);
    const { _esm: script, _css: style = "" } = model.state;
    if (style) document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    const module = await import(address);
    URL.revokeObjectURL(address);
    await module.default.render({ model, el, host: this });
  }
}

const page = JSON.parse(document.getElementById("dashboard-page").textContent);
const kernel = new Kernel(page.kernelId, page.baseUrl);
const root = document.getElementById("dashboard");
kernel.statusChanged.connect(() => { // later, the dashboard itself tells
  const progress = document.getElementById("progress");
  if (progress) progress.textContent = "The session ended before it began. Reload the page.";
});
kernel.open();
new Manager(kernel).render(page.modelId, root).then(() => document.getElementById("starting").remove());
// A closed tab gives its seat back at once.
for (const event of ["beforeunload", "pagehide"]) addEventListener(event, () => navigator.sendBeacon(`${kernel.url}/end`));
