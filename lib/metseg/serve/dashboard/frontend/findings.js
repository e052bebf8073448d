// What was found: the lesions, how they agree with a reference, and everything as files.

const number = (value, digits) => (value == null ? "–" : value.toFixed(digits));
const area = (mm2) => `${number(mm2, mm2 < 100 ? 1 : 0)}\u00a0mm²`; // no digits that no voxel could give

function row(lesion, index, pick) {
  const sizes = [h("b", {}, `${lesion.area_px} px`)];
  const diameter = [h("b", {}, `${number(lesion.diameter_px, 1)} px`)];
  if (lesion.area_mm2 != null) { // what is known in mm comes first
    sizes.unshift(h("b", {}, area(lesion.area_mm2)));
    diameter.unshift(h("b", {}, `${number(lesion.diameter_mm, 1)} mm`));
  }
  return h("tr", { tabindex: -1, onclick: pick, "data-network": index, "data-number": lesion.number },
    h("th", { scope: "row" }, String(lesion.number)), h("td", {}, ...sizes), h("td", {}, ...diameter),
    h("td", {}, number(lesion.mean_probability, 2)), h("td", {}, number(lesion.max_probability, 2)));
}

function table({ network, lesions, more }, index, pick) {
  const count = lesions.length + more;
  const heading = `${network}: ${count || "no"} lesion${count === 1 ? "" : "s"}`;
  if (!count) return h("p", { class: "ms-hint" }, heading);
  const head = ["#", "Area", "Diameter", "Mean p", "Max p"].map((text) => h("th", { scope: "col" }, text));
  return h("div", {},
    h("table", { class: "ms-table" }, h("caption", {}, heading), h("thead", {}, h("tr", {}, ...head)),
      h("tbody", {}, ...lesions.map((lesion) => row(lesion, index, () => pick(index, lesion.number))))),
    more ? h("p", { class: "ms-hint" }, `and ${more} smaller ones; the CSV file lists all.`) : null);
}

function agreement({ network, dice, hit, extra, missed }, pixelMm2) {
  const size = (pixels) => (pixelMm2 ? area(pixels * pixelMm2) : `${pixels} px`);
  const score = dice == null ? "not defined: mask and reference are both empty" : dice.toFixed(3);
  return h("div", { class: "ms-agreement" },
    h("p", {}, h("span", {}, network), h("b", {}, score)),
    h("small", {}, `${size(hit)} in both · ${size(extra)} extra · ${size(missed)} missed`));
}

function render({ model, el }) {
  const root = el.closest(".ms");
  const unit = h("p", { class: "ms-hint" }, "In pixels: the file does not tell how large one is.");
  const tables = h("div", {}), scores = h("section", { class: "ms-panel" });
  const button = h("button", { type: "button", class: "ms-button ms-primary" }, "Download ZIP");
  let waiting = false; // an answer may come twice, as a request that a lost connection may have swallowed is repeated
  button.addEventListener("click", () => {
    waiting = button.disabled = true;
    model.send({ kind: "download" });
  });
  model.on("msg:custom", (message, buffers) => {
    if (!["archive", "no archive"].includes(message.kind)) return;
    button.disabled = !model.get("tables").length;
    if (message.kind === "archive" && waiting) download(message.name, buffers[0]);
    waiting = false;
  });
  el.append(
    h("section", { class: "ms-panel" }, h("h2", {}, "Lesions"), tables, unit), scores,
    h("section", { class: "ms-panel" }, h("h2", {}, "Files"),
      h("p", { class: "ms-hint" }, "Mask (PNG, TIFF), overlay, lesions (CSV) and the settings used."), button));

  const rows = () => [...tables.querySelectorAll("tbody tr")];
  const pick = (index, lesion) => {
    const same = String(model.get("selected")) === String([index, lesion]);
    save(model, { selected: same ? [0, 0] : [index, lesion] });
  };
  const place = (element) => {
    const found = element?.closest?.("tbody tr");
    return found ? [Number(found.dataset.network), Number(found.dataset.number)] : null;
  };
  const point = (detail) => root.dispatchEvent(new CustomEvent("ms-point", { detail }));
  tables.addEventListener("pointerover", ({ target }) => point(place(target)));
  tables.addEventListener("pointerleave", () => point(null));
  tables.addEventListener("keydown", (event) => {
    const all = rows(), at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at >= 0 && to !== undefined) {
      event.preventDefault();
      const next = all[Math.max(0, Math.min(all.length - 1, to))];
      next.focus();
      save(model, { selected: place(next) });
    } else if (at >= 0 && ["Enter", " "].includes(event.key)) {
      event.preventDefault();
      pick(...place(all[at]));
    } else if (event.key === "Escape") save(model, { selected: [0, 0] });
  });

  const mark = () => {
    const all = rows();
    const chosen = all.find((each) => String(place(each)) === String(model.get("selected")));
    for (const each of all) {
      each.setAttribute("aria-selected", each === chosen);
      each.tabIndex = each === (chosen ?? all[0]) ? 0 : -1;
    }
  };
  follow(model, ["tables", "pixel_mm2"], () => {
    const found = model.get("tables");
    unit.hidden = Boolean(model.get("pixel_mm2")) || !found.some((each) => each.lesions.length);
    tables.replaceChildren(...(found.length ? found.map((each, index) => table(each, index, pick))
      : [h("p", { class: "ms-hint" }, "No slice yet.")]));
    button.disabled = !found.length;
    mark();
  });
  follow(model, ["selected"], mark);
  follow(model, ["agreements", "pixel_mm2"], () => {
    const found = model.get("agreements");
    scores.hidden = !found.length;
    scores.replaceChildren(h("h2", {}, "Slice Dice"), ...found.map((each) => agreement(each, model.get("pixel_mm2"))));
  });
}
