// A volume: which part is which sequence, the three planes, a reference, and everything as files. The planes are a
// widget of their own.

const SEQUENCES = { t1: "pre-contrast", flair: "FLAIR", t1c: "post-contrast" };
const LONGEST = 26; // letters of a name in a list
const DICE = "Dice = 2 · |mask ∩ reference| / (|mask| + |reference|), over all voxels of the scan.";

function score({ dice, hit, extra, missed, voxel_mm3 }) {
  const size = (voxels) => (voxel_mm3 ? `${(voxels * voxel_mm3 / 1000).toFixed(2)}\u00a0ml` : `${voxels} voxels`);
  return [h("p", {}, h("span", {}, "Dice of the volume"),
    h("b", {}, dice == null ? "not defined: mask and reference are both empty" : dice.toFixed(3))),
  h("small", {}, `${size(hit)} in both · ${size(extra)} extra · ${size(missed)} missed`), h("small", {}, DICE)];
}

// The end of a name, which tells the sequence.
function shortened(name) {
  const plain = name.replace(/\.nii(\.gz)?$/i, "");
  return plain.length > LONGEST ? `…${plain.slice(1 - LONGEST)}` : plain;
}

function sequenceChoice(model) {
  const missing = h("input", { type: "checkbox" });
  const again = h("button", { type: "button", class: "ms-button" }, "Read again");
  const rows = h("div", { class: "ms-rows-of-fields" });
  const selects = () => [...rows.querySelectorAll("select")];
  const told = () => Object.fromEntries(selects().map((each) => [each.name, each.value]).filter(([, key]) => key));
  const same = () => {
    const volume = model.get("volume");
    again.disabled = Boolean(volume.details) && missing.checked === volume.missing
      && selects().every((each) => each.value === (volume.told[each.name] ?? ""));
  };
  again.addEventListener("click", () => model.send({ kind: "sequences", told: told(), missing: missing.checked }));
  missing.addEventListener("change", same);
  const draw = ({ parts = [], told: known = {}, missing: mayMiss = false }) => {
    missing.checked = mayMiss;
    rows.replaceChildren(...Object.entries(SEQUENCES).map(([name, label]) => {
      const guess = parts.filter((each) => each.sequence === name).map((each) => shortened(each.name));
      const automatic = h("option", { value: "" }, guess.length === 1 ? `${guess[0]} (guessed)` : "not told");
      const select = h("select", { name, onchange: same }, automatic,
        ...parts.map((each) => h("option", { value: each.key, title: each.name }, shortened(each.name))));
      select.value = known[name] ?? "";
      return h("label", { class: "ms-field" }, h("span", {}, label), select);
    }));
    same();
  };
  const element = h("section", { class: "ms-panel" }, h("h2", {}, "Sequences"), rows,
    h("label", { class: "ms-check" }, missing, "FLAIR, else post-contrast, if one is missing"), again);
  return { element, draw };
}

function render({ model, el, host, stage, lesions, files }) {
  const root = el.closest(".ms");
  const sequences = sequenceChoice(model), result = h("div", { class: "ms-agreement" });
  const scores = h("section", { class: "ms-panel" }, h("h2", {}, "Reference"), result);
  const button = h("button", { type: "button", class: "ms-button ms-primary" }, "Download ZIP");
  const what = h("p", { class: "ms-hint" });
  files.append(h("section", { class: "ms-panel" }, h("h2", {}, "Files"), what, button));
  const working = h("p", { class: "ms-hint ms-working", role: "status" }, h("i", { class: "ms-spinner" }), h("span"));
  const planes = h("div", { class: "ms-volume-planes" }), cautions = h("ul", { class: "ms-notes ms-cautions", role: "status" });
  const notes = h("ul", { class: "ms-plain-notes" });
  const told = h("section", { class: "ms-panel" }, h("h2", {}, "How it was read"), notes);
  const below = h("div", { class: "ms-of-scan" }, scores, told);
  const hint = h("p", { class: "ms-hint" }, "Say which file or series is which sequence, then read the scan again.");
  el.append(working, sequences.element);
  stage.append(hint, cautions, planes, below);

  let waiting = false;
  button.addEventListener("click", () => {
    waiting = button.disabled = true;
    model.send({ kind: "download" });
  });
  model.on("msg:custom", (message, buffers) => {
    if (!["archive", "no archive"].includes(message.kind)) return;
    button.disabled = false;
    if (message.kind === "archive" && waiting) download(message.name, buffers[0]);
    waiting = false;
  });
  const showHint = () => { hint.hidden = Boolean(model.get("volume").details || model.get("working")); };
  follow(model, ["working"], () => {
    showHint();
    working.lastChild.textContent = model.get("working");
    working.hidden = !model.get("working");
  });
  follow(model, ["volume", "visits"], () => {
    const volume = model.get("volume"), isThere = Boolean(volume.name), isRead = Boolean(volume.details);
    root.classList.toggle("ms-volume", isThere);
    for (const each of [sequences.element, stage]) each.hidden = !isThere;
    for (const each of [cautions, planes, below, lesions, files]) each.hidden = !isRead;
    cautions.replaceChildren(...(volume.cautions ?? []).map((note) => h("li", {}, note)));
    showHint();
    notes.replaceChildren(...(volume.notes ?? []).map((note) => h("li", {}, note)));
    what.textContent = `Mask (NIfTI, on the file's own grid), lesion report (HTML, PDF, JSON, CSV)${
      volume.dicom ? ", DICOM SEG, SR and RTSTRUCT" : ""}${
      model.get("visits").changes?.rows ? ", and the report of both visits" : ""}.`;
    if (isThere) sequences.draw(volume);
  });
  follow(model, ["volume_reference"], () => {
    const reference = model.get("volume_reference");
    scores.hidden = !reference.name;
    if (reference.name) result.replaceChildren(...score(reference), ...reference.notes.map((note) => h("small", {}, note)));
  });
  let shown = null;
  follow(model, ["viewer"], async () => {
    const reference = model.get("viewer");
    if (!reference || reference === shown) return;
    shown = reference;
    const widget = await host.getWidget(reference);
    await widget.render({ el: planes });
    lesions.append(planes.querySelector(".ms-lesions")); // beside the planes, above what is done with them
  });
}
