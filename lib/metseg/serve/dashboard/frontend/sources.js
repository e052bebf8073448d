// Where slices come from: a file, an example; and the reference mask.

const CHUNK = 512 * 1024; // small enough for any server's websocket
const SILENCE = 20000; // ms without an answer before the visitor is told

// Of a file and of the most there may be: never the same figure for both.
function megabytes(bytes, limit) {
  const size = bytes / 2 ** 20;
  return `${(bytes > limit ? Math.ceil(10 * size) / 10 : size).toFixed(bytes > limit ? 1 : 0)} MB`;
}

// Sends one file in pieces, the next when the last has arrived; a newer file takes the place of an older one.
function uploader(model, { progress, fail }) {
  let current = null;
  const wait = () => {
    clearTimeout(current.timer);
    current.timer = setTimeout(silent, SILENCE);
  };
  const silent = () => {
    if (model.widget_manager?.kernel?.connectionStatus === "connecting") return wait(); // it is sent again later
    fail("The server does not answer. Check your network, or reload the page and try again.");
    progress(current = null);
  };
  const next = async () => {
    const upload = current;
    const piece = await upload.file.slice(upload.sent, upload.sent + CHUNK).arrayBuffer().catch(() => null);
    if (upload !== current) return;
    if (!piece) {
      fail(`${upload.file.name} could not be read. Choose it again; it may have been moved or changed.`);
      return progress(current = null);
    }
    const { id, role, sent, file } = upload;
    model.send({ kind: "piece", upload: id, role, name: file.name, start: sent, size: file.size }, undefined, [piece]);
    upload.sent += piece.byteLength;
    wait();
  };
  let uploads = 0;
  model.on("msg:custom", (message) => {
    if (message.kind !== "arrived" || message.upload !== current?.id) return;
    clearTimeout(current.timer);
    if (current.sent < current.file.size) {
      progress(current);
      next();
    } else progress(current = null);
  });
  return (file, role) => {
    const limit = model.get("limit_bytes");
    if (file.size > limit) {
      return fail(`${file.name} has ${megabytes(file.size, limit)}; the most is ${megabytes(limit, limit)}. `
        + "Export a single slice, or shrink it.");
    }
    if (file.size === 0) return fail(`${file.name} is empty. Export the slice again.`);
    clearTimeout(current?.timer);
    current = { id: (uploads += 1), file, role, sent: 0 };
    progress(current);
    next();
  };
}

function render({ model, el }) {
  const root = el.closest(".ms");
  const fail = (detail) => el.dispatchEvent(new CustomEvent("ms-message", { detail, bubbles: true }));
  const bar = h("progress", { max: 1, "aria-label": "Upload" });
  const start = uploader(model, {
    fail,
    progress: (upload) => {
      bar.hidden = !upload;
      if (upload) bar.value = upload.sent / upload.file.size;
      allowReference();
    },
  });
  bar.hidden = true;

  const choose = (role) => h("input", {
    type: "file", class: "ms-file", accept: ".tif,.tiff,.png,.jpg,.jpeg,image/tiff,image/png,image/jpeg",
    onchange: ({ target }) => {
      if (target.files.length) start(target.files[0], role);
      target.value = ""; // so that the same file can be chosen again
    },
  });
  const limit = `TIFF, PNG or JPEG up to ${Math.round(model.get("limit_bytes") / 2 ** 20)} MB`;
  const zone = h("label", { class: "ms-drop" }, choose("slice"),
    h("strong", {}, "Drop a slice"), h("span", {}, "or choose a file"), h("small", {}, limit));
  const chip = h("div", { class: "ms-chip" });
  const notes = h("ul", { class: "ms-notes" });
  const examples = h("div", { class: "ms-examples", role: "group", "aria-label": "Examples" });
  const adding = choose("reference");
  const add = h("label", { class: "ms-link" }, adding, "Add a reference mask …");
  const reference = h("div", { class: "ms-chip" });
  const allowReference = () => { // to a slice that is there, and not while another one is on its way
    adding.disabled = !model.get("slice_file").name || !bar.hidden;
    add.classList.toggle("ms-disabled", adding.disabled);
  };
  el.append(h("section", { class: "ms-panel" },
    h("h2", {}, "Slice"), zone, bar, chip, notes,
    h("div", { class: "ms-examples-row" }, h("p", { class: "ms-hint" }, "Examples, drawn"), examples), add, reference));

  // A file dropped beside the zone would make the browser leave the page.
  const over = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    root.classList.toggle("ms-dropping", event.type === "dragover");
  };
  for (const type of ["dragover", "dragleave", "drop"]) root.addEventListener(type, over);
  root.addEventListener("drop", ({ dataTransfer, target }) => {
    const files = [...(dataTransfer?.files ?? [])];
    if (!files.length) return;
    if (files.length > 1) return fail("One slice at a time: drop a single file.");
    start(files[0], add.contains(target) && !adding.disabled ? "reference" : "slice");
  });

  let removing = false;
  const remove = () => {
    removing = true;
    model.send({ kind: "drop_reference" });
  };
  follow(model, ["slice_file", "reference_file"], () => {
    const slice = model.get("slice_file"), mask = model.get("reference_file");
    chip.replaceChildren(...(slice.name ? [h("b", { title: slice.name }, slice.name), h("span", {}, slice.details)] : []));
    notes.replaceChildren(...(slice.notes ?? []).map((note) => h("li", {}, note)));
    zone.classList.toggle("ms-loaded", Boolean(slice.name));
    allowReference();
    add.hidden = Boolean(mask.name);
    reference.replaceChildren(...(mask.name ? [
      h("span", {}, "Reference:"), h("b", { title: mask.name }, mask.name),
      h("button", { type: "button", class: "ms-link", onclick: remove }, "Remove"),
    ] : []));
    if (removing && !mask.name) { // the button that had the focus is gone
      removing = false;
      adding.focus();
    }
  });
  follow(model, ["examples"], () => {
    examples.replaceChildren(...model.get("examples").map(({ name, title, picture }) => {
      const thumb = h("img", { alt: title, width: 72, height: 72 });
      showPng(thumb, picture);
      const pick = () => model.send({ kind: "example", name });
      return h("button", { type: "button", class: "ms-example", title, onclick: pick }, thumb);
    }));
  });
}
