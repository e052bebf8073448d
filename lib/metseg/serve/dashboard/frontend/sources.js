// Where scans come from: files, an example; and the reference mask.

const CHUNK = 512 * 1024; // small enough for any server's websocket
const PICTURE = /\.(tiff?|png|jpe?g)$/i;
const VOLUMES = ".nii,.gz,.zip,.dcm,application/gzip,application/zip";
const SILENCE = 20000; // ms without an answer before the visitor is told

// Of a file and of the most there may be: never the same figure for both.
function megabytes(bytes, limit) {
  const size = bytes / 2 ** 20;
  return `${(bytes > limit ? Math.ceil(10 * size) / 10 : size).toFixed(bytes > limit ? 1 : 0)} MB`;
}

// Sends files in pieces, the next when the last has arrived; newer files take the place of older ones.
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
    const upload = current, file = upload.files[upload.index];
    const piece = await file.slice(upload.sent, upload.sent + CHUNK).arrayBuffer().catch(() => null);
    if (upload !== current) return;
    if (!piece) {
      fail(`${file.name} could not be read. Choose it again; it may have been moved or changed.`);
      return progress(current = null);
    }
    const { id, role, index, files, sent, total } = upload;
    model.send({ kind: "piece", upload: id, role, name: file.name, file: index, files: files.length, start: sent,
      size: file.size, total }, undefined, [piece]);
    upload.sent += piece.byteLength;
    upload.done += piece.byteLength;
    wait();
  };
  let uploads = 0;
  model.on("change:arrived", () => {
    const { upload, file, end } = model.get("arrived");
    if (upload !== current?.id || file !== current.index || end !== current.sent) return;
    clearTimeout(current.timer);
    if (current.sent === current.files[current.index].size) [current.index, current.sent] = [current.index + 1, 0];
    if (current.index < current.files.length) {
      progress(current);
      next();
    } else progress(current = null);
  });
  return (files, role) => {
    const total = files.reduce((sum, file) => sum + file.size, 0);
    for (const file of files) {
      const limit = model.get(PICTURE.test(file.name) ? "limit_bytes" : "volume_bytes");
      if (Math.max(file.size, PICTURE.test(file.name) ? 0 : total) > limit) {
        return fail(`${file.name} has ${megabytes(Math.max(file.size, total), limit)}; the most is `
          + `${megabytes(limit, limit)}. Export ${PICTURE.test(file.name) ? "a single slice" : "one scan"}, or shrink it.`);
      }
      if (file.size === 0) return fail(`${file.name} is empty. Export it again.`);
    }
    clearTimeout(current?.timer);
    current = { id: (uploads += 1), files, role, index: 0, sent: 0, done: 0, total };
    progress(current);
    next();
  };
}

// "240 × 240 × 155 voxels, 1 × 1 × 1 mm" may be broken after the comma alone.
const unbroken = (size) => size.replaceAll(/(?<!,) /g, "\u00a0");

function render({ model, el }) {
  const root = el.closest(".ms");
  const fail = (detail) => el.dispatchEvent(new CustomEvent("ms-message", { detail, bubbles: true }));
  const bar = h("progress", { max: 1, "aria-label": "Upload" });
  const start = uploader(model, {
    fail,
    progress: (upload) => {
      bar.hidden = !upload;
      if (upload) bar.value = upload.done / upload.total;
      allowReference();
    },
  });
  bar.hidden = true;

  const choose = (role) => h("input", {
    type: "file", class: "ms-file", multiple: role === "slice",
    accept: `.tif,.tiff,.png,.jpg,.jpeg,image/tiff,image/png,image/jpeg,${VOLUMES}`,
    onchange: ({ target }) => {
      if (target.files.length) start([...target.files], role);
      target.value = ""; // so that the same file can be chosen again
    },
  });
  const most = (name) => `${Math.round(model.get(name) / 2 ** 20)} MB`;
  const limit = `TIFF, PNG or JPEG up to ${most("limit_bytes")}; a volume's NIfTI files, or a ZIP of NIfTI or DICOM, up to `
    + most("volume_bytes");
  const zone = h("label", { class: "ms-drop" }, choose("slice"),
    h("strong", {}, "Drop a slice or a volume"), h("span", {}, "or choose files"), h("small", {}, limit));
  const chip = h("div", { class: "ms-chip" });
  const notes = h("ul", { class: "ms-notes" });
  const examples = h("div", { class: "ms-examples", role: "group", "aria-label": "Examples" });
  const adding = choose("reference");
  const add = h("label", { class: "ms-link" }, adding, "Add a reference mask …");
  const reference = h("div", { class: "ms-chip" });
  const allowReference = () => { // to a scan that is there, and not while another one is on its way
    const volume = model.get("volume");
    adding.disabled = !(volume.name ? volume.details : model.get("slice_file").name) || !bar.hidden;
    add.classList.toggle("ms-disabled", adding.disabled);
  };
  el.append(h("section", { class: "ms-panel" },
    h("h2", {}, "Scan"), zone, bar, chip, notes,
    h("div", { class: "ms-examples-row" }, h("p", { class: "ms-hint" }, "Examples, drawn"), examples), add, reference));

  root.addEventListener("ms-upload", ({ detail: { files, role } }) => start(files, role)); // from another part

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
    const role = add.contains(target) && !adding.disabled ? "reference" : "slice";
    if (role === "reference" && files.length > 1) return fail("A reference is a single file.");
    start(files, role);
  });

  let removing = false;
  const remove = () => {
    removing = true;
    model.send({ kind: "drop_reference" });
  };
  follow(model, ["slice_file", "reference_file", "volume", "volume_reference"], () => {
    const isVolume = Boolean(model.get("volume").name);
    const slice = model.get(isVolume ? "volume" : "slice_file");
    const mask = model.get(isVolume ? "volume_reference" : "reference_file");
    chip.replaceChildren(...(slice.name ? [h("b", { title: slice.name }, slice.name), h("span", {}, unbroken(slice.details))] : []));
    notes.replaceChildren(...(isVolume ? [] : slice.notes ?? []).map((note) => h("li", {}, note)));
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
