// The lesions; a click, or arrows in the table, take the crosshair to one.
function lesionTable(model) {
  const heading = h("h2", {}, "Lesions"), hint = h("p", { class: "ms-hint", role: "status" }), body = h("tbody");
  const head = h("tr"), more = h("p", { class: "ms-hint" }), rating = h("p", { class: "ms-hint" });
  const table = h("table", { class: "ms-table" }, h("thead", {}, head), body);
  const box = h("div", { class: "ms-rows" }, table);
  const go = ({ number, centre }) => save(model, { selected: number, cursor: [...centre] });
  const rows = () => [...body.children];
  body.addEventListener("keydown", (event) => {
    const all = rows(), at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1, Enter: at, " ": at }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const index = clamp(to, 0, all.length - 1);
    all[index].focus();
    go(model.get("lesions")[index]);
  });
  const mark = () => rows().forEach((row) => {
    const number = Number(row.dataset.number), selected = model.get("selected");
    row.setAttribute("aria-selected", number === selected);
    row.tabIndex = number === (selected || 1) ? 0 : -1;
    const top = row.offsetTop - head.offsetHeight;
    const isSeen = top >= box.scrollTop && top + row.offsetHeight < box.scrollTop + box.clientHeight;
    if (number === selected && !isSeen) box.scrollTop = top; // of the table alone: the page stays
  });
  follow(model, ["lesions", "more", "labels", "rating"], () => {
    const found = model.get("lesions");
    const inMm = found[0]?.volume_mm3 != null, rated = found[0]?.mean_probability != null;
    const sizes = inMm ? ["Volume mm³", "Longest mm"] : ["Voxels", "Longest px"];
    const { title = "Mean p", told, share } = model.get("rating");
    const titles = ["#", ...sizes, ...(rated ? [title] : [])];
    const rate = (each) => (!told ? each.mean_probability.toFixed(2) : each.rated == null ? "–"
      : share ? `${Math.round(100 * each.rated)}\u00a0%` : each.rated.toFixed(2));
    head.replaceChildren(...titles.map((text) => h("th", { scope: "col" }, text)));
    body.replaceChildren(...found.map((each) => {
      const volume = inMm ? each.volume_mm3 : each.voxels, longest = inMm ? each.longest_mm : each.longest_px;
      const cells = [volume.toFixed(inMm && volume < 100 ? 1 : 0), longest.toFixed(1),
        ...(rated ? [rate(each)] : [])];
      return h("tr", { tabindex: -1, "data-number": each.number, onclick: () => go(each) },
        h("th", { scope: "row" }, String(each.number)), ...cells.map((text) => h("td", {}, text)));
    }));
    const count = found.length + model.get("more");
    heading.textContent = `Lesions${count ? `: ${count}` : ""}`;
    table.hidden = !count;
    more.textContent = model.get("more") ? `and ${model.get("more")} smaller ones.` : "";
    more.hidden = !model.get("more");
    rating.textContent = told ?? "";
    rating.hidden = !told || !count;
    mark();
  });
  follow(model, ["selected"], mark);
  return { element: h("section", { class: "ms-panel ms-lesions" }, heading, hint, box, more, rating), hint, box };
}
