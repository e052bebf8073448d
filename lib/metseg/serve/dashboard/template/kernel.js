// The page's link to its kernel: Jupyter's websocket, its messages, and what became of either.

class Signal {
  #slots = new Set();
  connect(slot) { this.#slots.add(slot); }
  emit(sender, value) { for (const slot of this.#slots) slot(sender, value); }
}

// crypto.randomUUID is missing where a page comes over plain HTTP from another machine.
const randomId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join("");

function decode(data) {
  if (typeof data === "string") return JSON.parse(data);
  const view = new DataView(data);
  const starts = Array.from({ length: view.getUint32(0) }, (_, k) => view.getUint32(4 * (k + 1)));
  const parts = starts.map((start, k) => new DataView(data, start, (starts[k + 1] ?? data.byteLength) - start));
  return { ...JSON.parse(new TextDecoder().decode(parts[0])), buffers: parts.slice(1) };
}

function encode(message, buffers) {
  const text = JSON.stringify(message);
  if (!buffers.length) return text;
  const parts = [new TextEncoder().encode(text), ...buffers.map((buffer) => new Uint8Array(buffer))];
  const head = new DataView(new ArrayBuffer(4 * (parts.length + 1)));
  head.setUint32(0, parts.length);
  let start = head.byteLength;
  parts.forEach((part, k) => {
    head.setUint32(4 * (k + 1), start);
    start += part.byteLength;
  });
  return new Blob([head, ...parts]);
}

const PATIENCE = 15000; // ms that something may stay unanswered, with no other sign of the kernel

class Kernel {
  session = randomId();
  status = "unknown";
  statusChanged = new Signal();
  connectionStatus = "connecting";
  connectionStatusChanged = new Signal();
  messages = new Signal();
  #socket = null;
  #attempts = 0;
  #retry = null;
  #watch = null;
  #settled = false;
  #unanswered = new Map();

  constructor(id, baseUrl) {
    this.url = new URL(`${baseUrl}api/kernels/${id}`, location.href);
    addEventListener("offline", () => this.#doubt());
    addEventListener("online", () => this.#retry && this.open());
  }

  open() {
    clearTimeout(this.#retry);
    this.#retry = null;
    const url = new URL(`${this.url}/channels?session_id=${this.session}`);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = this.#socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const current = (act) => (event) => { if (socket === this.#socket) act(event); };
    socket.onopen = current(() => {
      this.#attempts = 0;
      this.#connection("connected");
    });
    socket.onclose = current(() => this.#lost());
    socket.onmessage = current(({ data }) => this.#receive(decode(data)));
  }

  // What is sent is kept until the kernel is done with it. After a lost connection nothing but `first` goes out
  // before `settle`.
  send(type, content, { metadata = {}, buffers = [], first = false } = {}) {
    const header = { msg_id: randomId(), session: this.session, msg_type: type, username: "", version: "5.3" };
    const message = { header, parent_header: {}, metadata, content, channel: "shell" };
    if (!first) this.#unanswered.set(header.msg_id, [message, buffers]);
    if (first || this.#settled) this.#put(message, buffers);
    this.#wait();
    return header.msg_id;
  }

  // Sends again, in its order, what the kernel may not have heard. It may have: whatever a page sends can come twice.
  settle() {
    this.#settled = true;
    for (const [message, buffers] of this.#unanswered.values()) this.#put(message, buffers);
  }

  #put(message, buffers) {
    message.header.date = new Date().toISOString(); // a kernel drops what is the same to the letter
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(encode(message, buffers));
  }

  #receive(message) {
    const type = message.header.msg_type, state = type === "status" && message.content.execution_state;
    if (state === "idle") this.#unanswered.delete(message.parent_header.msg_id);
    this.#wait();
    // A kernel that is shut down says so to everyone; one that died is reported by the server.
    if (type === "shutdown_reply" || ["dead", "restarting"].includes(state)) this.#end();
    else this.messages.emit(this, message);
  }

  // A connection can go without a word, as when a laptop changes its network.
  #wait() {
    clearTimeout(this.#watch);
    if (this.#unanswered.size) this.#watch = setTimeout(() => this.#doubt(), PATIENCE);
  }

  #doubt() {
    if (this.connectionStatus !== "connected") return;
    const socket = this.#socket;
    this.#socket = null;
    socket.close();
    this.#lost();
  }

  async #lost() {
    if (this.status === "dead") return;
    this.#settled = false;
    this.#connection("connecting");
    const answer = await fetch(this.url, { signal: AbortSignal.timeout(5000) }).catch(() => null);
    if (answer && [403, 404].includes(answer.status)) return this.#end();
    this.#attempts += 1;
    this.#retry = setTimeout(() => this.open(), Math.min(250 * 2 ** this.#attempts, 10000));
  }

  #connection(status) {
    this.connectionStatus = status;
    this.connectionStatusChanged.emit(this, status);
  }

  #end() {
    this.status = "dead";
    clearTimeout(this.#watch);
    this.statusChanged.emit(this, "dead");
  }
}
