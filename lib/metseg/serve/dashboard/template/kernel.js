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

class Kernel {
  session = randomId();
  status = "unknown";
  statusChanged = new Signal();
  connectionStatus = "connecting";
  connectionStatusChanged = new Signal();
  messages = new Signal();
  #attempts = 0;

  constructor(id, baseUrl) {
    this.url = new URL(`${baseUrl}api/kernels/${id}`, location.href);
  }

  open() {
    const url = new URL(`${this.url}/channels?session_id=${this.session}`);
    url.protocol = url.protocol.replace("http", "ws");
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.#attempts = 0;
      this.#connection("connected");
    };
    this.socket.onclose = () => this.#lost();
    this.socket.onmessage = ({ data }) => this.#receive(decode(data));
  }

  send(type, content, { metadata = {}, buffers = [] } = {}) {
    const header = { msg_id: randomId(), session: this.session, msg_type: type, username: "", version: "5.3" };
    header.date = new Date().toISOString();
    const message = { header, parent_header: {}, metadata, content, channel: "shell" };
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(encode(message, buffers));
    return header.msg_id;
  }

  #receive(message) {
    const type = message.header.msg_type;
    // A kernel that is shut down says so to everyone; one that died is reported by the server.
    if (type === "shutdown_reply") this.#end();
    else if (type === "status" && ["dead", "restarting"].includes(message.content.execution_state)) this.#end();
    else this.messages.emit(this, message);
  }

  async #lost() {
    if (this.status === "dead") return;
    this.#connection("connecting");
    const answer = await fetch(this.url).catch(() => null);
    if (answer && [403, 404].includes(answer.status)) return this.#end();
    this.#attempts += 1;
    setTimeout(() => this.open(), Math.min(250 * 2 ** this.#attempts, 10000));
  }

  #connection(status) {
    this.connectionStatus = status;
    this.connectionStatusChanged.emit(this, status);
  }

  #end() {
    this.status = "dead";
    this.statusChanged.emit(this, "dead");
  }
}
