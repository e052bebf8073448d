// Scans on the server, where its host allows a folder of them: a list of folders and scans to choose from.

const PAUSE = 250; // ms between typing and asking

function entry(name, details, act) {
  return h("li", {}, h("button", { type: "button", class: "ms-entry", onclick: act },
    h("b", {}, name), h("span", {}, details)));
}

function render({ model, el }) {
  if (!Object.keys(model.get("there")).length) return;
  const path = h("nav", { class: "ms-path", "aria-label": "Folder" }), list = h("ul", { class: "ms-entries" });
  const find = h("input", { type: "search", placeholder: "Find a name", "aria-label": "Find a name" });
  const hint = h("p", { class: "ms-hint", role: "status" });
  const close = h("button", { type: "button", class: "ms-button", onclick: () => dialog.close() }, "Close");
  const dialog = h("dialog", { class: "ms-dialog", "aria-label": "Scans on the server" },
    h("div", { class: "ms-heading" }, h("h2", {}, "Scans on the server"), close), path, find, list, hint);
  const look = (place, name = "") => model.send({ kind: "look there", place, find: name });
  const show = () => {
    dialog.showModal();
    if (!model.get("there").listed) look("");
  };
  let typed;
  find.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(() => look(model.get("there").place, find.value), PAUSE);
  });
  dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close(); }); // beside it
  el.querySelector(".ms-drop").after(
    h("button", { type: "button", class: "ms-link", onclick: show }, "Open from the server …"));
  el.append(dialog);

  follow(model, ["message"], () => { if (model.get("message") && dialog.open) dialog.close(); }); // which it would hide
  follow(model, ["there"], () => {
    const { place, find: sought, folders, scans, more, listed } = model.get("there");
    const parts = place ? place.split("/") : [];
    path.replaceChildren(...["All", ...parts].flatMap((name, k) => {
      const isLast = k === parts.length, to = parts.slice(0, k).join("/");
      const step = isLast ? h("b", {}, name)
        : h("button", { type: "button", class: "ms-link", onclick: () => look(to) }, name);
      return k ? [" / ", step] : [step];
    }));
    if (sought !== find.value && document.activeElement !== find) find.value = sought;
    list.replaceChildren(
      ...scans.map(({ name, details, files }) => entry(name, details, () => {
        dialog.close();
        model.send({ kind: "open there", place, files });
      })),
      ...folders.map((name) => entry(name, "folder", () => {
        find.value = "";
        look([...parts, name].join("/"));
      })));
    list.scrollTop = 0;
    hint.textContent = !listed ? "Reading …" : more ? "Not all are listed: find others by a part of their name."
      : scans.length + folders.length ? "" : "No scan and no folder here.";
    hint.hidden = !hint.textContent;
  });
}
