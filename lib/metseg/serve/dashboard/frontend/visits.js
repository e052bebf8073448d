// Another visit of the patient: which one it is, and what changed between both.

const signed = (value, digits) => (value == null ? "–" : `${value > 0 ? "+" : value < 0 ? "−" : ""}${
  Math.abs(value).toFixed(digits)}`);
const plain = (value, digits) => (value == null ? "–" : value.toFixed(digits));
const COLUMNS = [ // of one lesion: heading, how it is written
  ["before", ({ former_mm }) => plain(former_mm, 1)], ["now", ({ now_mm }) => plain(now_mm, 1)],
  ["growth", ({ growth_mm }) => signed(growth_mm, 1)], ["%", ({ growth_percent }) => signed(growth_percent, 0)],
  ["before", ({ former_mm3 }) => plain(former_mm3, 0)], ["now", ({ now_mm3 }) => plain(now_mm3, 0)],
  ["%", ({ volume_percent }) => signed(volume_percent, 0)],
];

function changesTable(rows, go) {
  const some = (numbers) => numbers.join(", ") || "–";
  const column = (text, more = {}) => h("th", { scope: "col", ...more }, text);
  const groups = h("tr", {}, column("Lesion", { colspan: 3 }), column("Longest diameter, mm", { colspan: 4 }),
    column("Volume, mm³", { colspan: 3 }));
  const names = h("tr", {}, column("before"), column("now"), column("change"), ...COLUMNS.map(([name]) => column(name)));
  return h("table", { class: "ms-table ms-changes" }, h("thead", {}, groups, names),
    h("tbody", {}, ...rows.map((row, k) => {
      const act = () => go(k);
      const onkeydown = (event) => {
        if (!["Enter", " "].includes(event.key)) return;
        event.preventDefault();
        act();
      };
      return h("tr", { tabindex: 0, onclick: act, onkeydown, "data-kind": row.kind },
        h("td", {}, some(row.former)), h("th", { scope: "row" }, some(row.now)), h("td", {}, row.kind),
        ...COLUMNS.map(([, text]) => h("td", {}, text(row))));
    })));
}

function tick(text, act) {
  const input = h("input", { type: "checkbox" });
  input.addEventListener("change", () => act(input.checked));
  return { input, label: h("label", { class: "ms-check" }, input, text) };
}

function render({ model, el, stage }) {
  const say = (choices) => model.send({ kind: "visits", choices });
  const keep = h("button", { type: "button", class: "ms-button", onclick: () => model.send({ kind: "keep visit" }) },
    "Keep this scan");
  const file = h("input", { type: "file", class: "ms-file", multiple: true,
    accept: ".nii,.gz,.zip,.dcm,application/gzip,application/zip" });
  file.addEventListener("change", () => {
    const detail = { files: [...file.files], role: "visit" };
    if (file.files.length) el.dispatchEvent(new CustomEvent("ms-upload", { detail, bubbles: true }));
    file.value = "";
  });
  const add = h("label", { class: "ms-link" }, file, "Add the other visit’s files …");
  const how = h("p", { class: "ms-hint" }, "Compare two visits of one patient. Keep this scan, then open the other one; "
    + "or add the other visit here: its scan, its mask, or the ZIP of its results.");
  const chip = h("div", { class: "ms-chip" });
  const wait = h("p", { class: "ms-hint" }, "Now open the other visit.");
  const order = h("div", { class: "ms-segments", role: "group", "aria-label": "The kept visit is" }, ...[["earlier", true],
    ["later", false]].map(([text, is_former]) => {
    const radio = h("input", { type: "radio", name: "ms-kept-visit", class: "ms-unseen", value: text });
    radio.addEventListener("change", () => say({ is_former }));
    return h("label", {}, radio, h("span", {}, text));
  }));
  const ordered = h("div", { class: "ms-kept-is" }, h("span", {}, "It is the"), order, h("span", {}, "visit"));
  const register = tick("Register by their pictures, if the head lay differently", (on) => say({ register: on }));
  const drop = h("button", { type: "button", class: "ms-link", onclick: () => model.send({ kind: "drop visit" }) }, "Remove");
  const title = h("p", { class: "ms-visits" }), doubt = h("p", { class: "ms-caution", role: "alert" });
  const same = tick("They are visits of one person", (on) => say({ same_patient: on }));
  const panel = h("section", { class: "ms-panel" }, h("h2", {}, "Follow-up"), how, keep, add, chip, wait, doubt, same.label,
    title, ordered, register.label, drop);
  el.append(panel);

  const heading = h("h2"), other = h("p", { class: "ms-hint" });
  const response = h("div", { class: "ms-response" }), table = h("div", { class: "ms-wide" });
  const cautions = h("ul", { class: "ms-notes" }), notes = h("ul", { class: "ms-plain-notes" });
  const result = h("section", { class: "ms-panel ms-follow-up" }, heading, response, cautions, table, other, notes);
  stage.querySelector(".ms-of-scan").before(result);

  follow(model, ["visits", "volume", "working"], () => {
    const visits = model.get("visits"), volume = model.get("volume"), { changes, problem } = visits;
    const isKept = Boolean(visits.name), isRead = Boolean(volume.details);
    panel.hidden = !isKept && !volume.name;
    for (const each of [how, keep, add]) each.hidden = isKept;
    for (const each of [chip, drop]) each.hidden = !isKept;
    keep.disabled = !isRead || Boolean(model.get("working"));
    chip.replaceChildren(...(isKept ? [h("b", { title: visits.name }, visits.name), h("span", {}, visits.details)] : []));
    wait.hidden = !isKept || Boolean(changes) || Boolean(problem);
    ordered.hidden = !changes || changes.is_dated;
    register.label.hidden = !changes || visits.is_mask;
    register.input.checked = visits.register;
    for (const radio of order.querySelectorAll("input")) radio.checked = (radio.value === "earlier") === visits.is_former;

    title.replaceChildren(...(changes ? ["Earlier: ", h("b", {}, changes.earlier), ", later: ", h("b", {}, changes.later),
      `. The open scan is the ${changes.open_is_later ? "later" : "earlier"} one. ${changes.order}`] : []));
    doubt.textContent = problem || changes?.doubt || "";
    doubt.hidden = !doubt.textContent;
    same.label.hidden = !changes?.doubt;
    same.input.checked = visits.same_patient;
    const rows = changes?.rows;
    result.hidden = !isRead || !rows;
    if (result.hidden) return;
    heading.textContent = `From ${changes.earlier} to ${changes.later}`;
    other.textContent = `How ${visits.name} was read:`;
    const sums = changes.sums.map((sum) => sum.toFixed(1)).join(" → ");
    response.replaceChildren(h("p", {}, h("b", {}, changes.category), " by RANO-BM, imaging part",
      sums ? `. Sum of the targets’ longest diameters: ${sums} mm` : "", "."), h("p", {}, changes.reasons.join(" ")));
    const go = (row) => {
      model.send({ kind: "go to change", row });
      stage.scrollTo({ top: 0, behavior: "smooth" }); // to the planes
    };
    table.replaceChildren(rows.length ? changesTable(rows, go)
      : h("p", { class: "ms-hint" }, "No lesion at either visit."));
    const listed = (sentences) => sentences.map((each) => h("li", {}, each));
    cautions.replaceChildren(...listed(changes.cautions));
    notes.replaceChildren(...listed(changes.notes));
  });
}
