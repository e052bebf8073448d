// The pictures: a large one, or one a network side by side, and a strip of small ones to choose it from.

const VIEWS = {
  overlay: "Mask", original: "Original", contrast: "CLAHE", heat: "Probability", gates: "Gates",
  comparison: "Reference",
};
const WINDOWED = ["overlay", "original", "comparison"];
const SVG = "http://www.w3.org/2000/svg";

function swatch(kind, text) {
  return h("span", { class: "ms-key" }, h("i", { class: `ms-swatch ms-${kind}` }), text);
}

function ramp(low, high) {
  return h("span", { class: "ms-key" }, low, h("i", { class: "ms-ramp" }), high);
}

const LEGENDS = {
  overlay: () => [swatch("mask", "marked as lesion")],
  original: () => [], contrast: () => [h("span", {}, "the contrast that the network gets")],
  heat: () => [ramp("probability 0", "1")],
  gates: () => [ramp("least open", "most")],
  comparison: () => [swatch("hit", "in both"), swatch("extra", "extra"), swatch("missed", "missed")],
};

// The borders of the lesions over a picture: invisible, but for the one that is picked or pointed at.
function lesionLayer(model, index) {
  const [width, height] = model.get("size");
  const layer = document.createElementNS(SVG, "svg");
  layer.setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
  layer.setAttribute("aria-hidden", "true");
  (model.get("outlines")[index] ?? []).forEach((parts, k) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", parts.map((points) => `M${points.join(" ")}Z`).join(""));
    path.addEventListener("click", () => save(model, { selected: [index, k + 1] }));
    layer.append(path);
  });
  return layer;
}

function figure(model, { bytes, alt, caption, index }) {
  const [width, height] = model.get("size");
  const image = h("img", { alt, draggable: "false" }); // dragging moves it in its frame
  showPng(image, bytes);
  const layers = h("div", { class: "ms-layers" }, image);
  const frame = h("div", { class: "ms-frame", style: `--ratio: ${width / height}` }, layers);
  if (index !== undefined) layers.append(lesionLayer(model, index));
  return h("figure", {}, frame, caption ? h("figcaption", {}, caption) : null);
}

// What a view shows: figures, or a sentence that says what is missing.
function figures(model, view) {
  const networks = model.get("labels"), channel = model.get("channel");
  const each = (name, text) => model.get(name).map((bytes, index) =>
    ({ bytes, index, alt: text(networks[index]), caption: networks[index] }));
  if (view === "original") return [{ bytes: model.get("original"), alt: `The slice, ${channel}` }];
  if (view === "contrast") return [{ bytes: model.get("contrast"), alt: `The slice after CLAHE, ${channel}` }];
  if (view === "heat") return each("heat", (network) => `Lesion probability by ${network}`);
  if (view === "overlay") return each("overlay", (network) => `Mask of ${network} over the slice, ${channel}`);
  if (view === "comparison") {
    return each("comparison", (network) => `Mask of ${network} compared with the reference`);
  }
  return model.get("gates").flatMap((gates, index) => gates.map((bytes, k) => {
    const depth = k === 0 ? " (coarsest)" : k === gates.length - 1 ? " (finest)" : "";
    const caption = `${networks[index]}, gate ${k + 1}${depth}`;
    return { bytes, alt: `What ${caption} lets pass`, caption };
  }));
}

function missing(model, view) {
  if (view === "comparison") return "Add a reference mask to see what is in both masks, extra, or missed.";
  const without = model.get("labels").filter((_, index) => !model.get("gates")[index]?.length);
  if (view === "gates" && model.get("gates").length && without.length) { // they come a moment after the view
    const other = without.length < model.get("labels").length ? "." : "; choose Attention U-Net to see what its gates look at.";
    return `${without.join(" and ")} has no attention gates${other}`;
  }
  return "";
}

function channelChoice(model) {
  const name = `ms-channel-${Math.random()}`;
  const choice = h("fieldset", { class: "ms-segments" }, h("legend", { class: "ms-unseen" }, "Channel shown"));
  for (const channel of model.get("channels")) {
    const radio = h("input", { type: "radio", name, value: channel, class: "ms-unseen" });
    radio.addEventListener("change", () => save(model, { channel }));
    model.on("change:channel", () => { radio.checked = model.get("channel") === channel; });
    radio.checked = model.get("channel") === channel;
    choice.append(h("label", {}, radio, h("span", {}, channel)));
  }
  return choice;
}

function slide(model, name, { label, min, max, step }) {
  const output = h("output"), input = h("input", { type: "range", min, max, step });
  input.addEventListener("input", () => save(model, { [name]: Number(input.value) }));
  follow(model, [name], () => {
    input.value = model.get(name);
    output.textContent = Math.round(model.get(name));
  });
  return h("label", { class: "ms-slide" }, label, input, output);
}

// How the slice is looked at: grey values and zoom. The network and its mask know nothing of either.
function lookTools(model, zoom) {
  const button = (text, name, act) => h("button", {
    type: "button", class: "ms-button ms-small", "aria-label": name, title: name, onclick: act,
  }, text);
  const grey = h("fieldset", { class: "ms-grey" }, h("legend", { class: "ms-unseen" }, "Grey values shown"),
    slide(model, "window", { label: "Window", min: 1, max: 510, step: 1 }),
    slide(model, "level", { label: "Level", min: 0, max: 255, step: 0.5 }));
  const percent = h("output", { "aria-live": "polite" });
  const reset = h("button", { type: "button", class: "ms-link" }, "Reset view");
  reset.addEventListener("click", () => {
    zoom.reset();
    model.send({ kind: "reset window" });
  });
  const tools = h("div", { class: "ms-look" }, grey, h("div", { class: "ms-zoom", role: "group", "aria-label": "Zoom" },
    button("−", "Zoom out", () => zoom.by(1 / 1.5)), percent, button("+", "Zoom in", () => zoom.by(1.5))), reset);
  const draw = () => {
    percent.textContent = `${Math.round(100 * zoom.scale)} %`;
    reset.disabled = zoom.scale === 1 && model.get("window") === 255 && model.get("level") === 127.5;
    reset.classList.toggle("ms-disabled", reset.disabled);
    grey.disabled = !WINDOWED.includes(model.get("view")); // the other pictures have shades of their own
  };
  zoom.changed = draw;
  follow(model, ["window", "level", "view"], draw);
  return tools;
}

function strip(model, choose) {
  const tabs = Object.entries(VIEWS).map(([view, label]) => h("button", {
    type: "button", role: "tab", id: `ms-tab-${view}`, class: "ms-tab", onclick: () => choose(view),
  }, h("span", { class: "ms-thumb", "data-view": view }, h("img", { alt: "" })), h("span", {}, label)));
  const bar = h("div", { class: "ms-strip", role: "tablist", "aria-label": "Picture" }, ...tabs);
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
  return { bar, tabs };
}

function render({ model, el }) {
  const legend = h("div", { class: "ms-legend" });
  const area = h("div", { class: "ms-area", role: "tabpanel", tabindex: 0,
    "aria-description": "Plus and minus zoom, the arrows move, 0 shows all" });
  const busy = h("div", { class: "ms-busy", role: "status" }, h("i", { class: "ms-spinner" }), "The network runs …");
  const { bar, tabs } = strip(model, (view) => save(model, { view }));
  const zoom = zoomable(area);
  const shown = h("div", { class: "ms-stage" },
    h("div", { class: "ms-toolbar" }, channelChoice(model), legend), lookTools(model, zoom), area, busy, bar);
  const empty = h("div", { class: "ms-empty" },
    h("h2", {}, "See what the network marks in an MRI scan"),
    h("ol", {},
      h("li", {}, "Drop a slice or a volume anywhere on this page, or choose files or an example."),
      h("li", {}, "Move the threshold and watch the mask; pick a lesion in the table to see it in the picture."),
      h("li", {}, "Download the mask and the measurements as one ZIP, of a volume with a report.")),
    h("p", {}, "A slice has three channels: red is pre-contrast, green FLAIR, blue post-contrast. A grey slice is "
      + "taken as FLAIR. A volume has one file or DICOM series for each. Nothing is kept after you close the page."));
  el.append(empty, shown);

  const root = el.closest(".ms");
  let pointed = null;
  const highlight = () => {
    const [index, number] = pointed ?? model.get("selected");
    area.querySelectorAll("svg").forEach((layer, k) => [...layer.children].forEach((path, m) =>
      path.classList.toggle("ms-picked", k === index && m + 1 === number)));
  };
  root.addEventListener("ms-point", ({ detail }) => {
    pointed = detail;
    highlight();
  });

  const pictures = ["original", "contrast", "heat", "overlay", "comparison", "gates"];
  follow(model, [...pictures, "view", "outlines", "labels", "size"], () => {
    const loaded = Boolean(model.get("original")?.byteLength);
    empty.hidden = loaded;
    shown.hidden = !loaded;
    if (!loaded) return;
    const view = model.get("view");
    const found = figures(model, view), sentence = missing(model, view);
    area.querySelectorAll("img").forEach((image) => showPng(image, null));
    area.replaceChildren(...found.map((each) => figure(model, each)));
    if (sentence && (view !== "comparison" || !found.length)) area.append(h("p", { class: "ms-missing" }, sentence));
    area.dataset.count = found.length;
    area.setAttribute("aria-labelledby", `ms-tab-${view}`);
    legend.replaceChildren(...(found.length ? LEGENDS[view]() : []));
    Object.keys(VIEWS).forEach((name, k) => {
      tabs[k].setAttribute("aria-selected", name === view);
      tabs[k].tabIndex = name === view ? 0 : -1;
      const [first] = figures(model, name);
      const thumb = tabs[k].querySelector("img");
      thumb.hidden = !first;
      showPng(thumb, first?.bytes ?? null);
    });
    highlight();
  });
  follow(model, ["selected"], highlight);
  model.on("change:number", () => {
    zoom.reset();
    // On a telephone it was chosen further down.
    if (matchMedia("(max-width: 760px)").matches) requestAnimationFrame(() => el.scrollIntoView({ block: "start" }));
  });
  follow(model, ["busy"], () => {
    busy.hidden = !model.get("busy");
    shown.setAttribute("aria-busy", model.get("busy"));
  });
}
