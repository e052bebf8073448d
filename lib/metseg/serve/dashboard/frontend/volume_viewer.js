// A scan in three planes with one crosshair, a mask over them and its lesions.

const UNKNOWN = ["Slices (x, y)", "Section (x, z)", "Section (y, z)"]; // the planes' names without an orientation
const SIDES = [["R", "L"], ["A", "P"], ["S", "I"]]; // of x, y, z: where mm are above and below 0
const OVERLAYS = { fill: "Filled", contour: "Contour", none: "Off" };
const HANDS = "Drag: crosshair · wheel: slice · Shift drag: window, level";
const MAX_ZOOM = 8;
const REST = 200; // ms

const unpack = (bytes) => new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")))
  .arrayBuffer().then((buffer) => new Uint8Array(buffer));

// The mm of a voxel (z, y, x) as R/L, A/P and S/I.
function place(affine, [z, y, x]) {
  return affine.map(([a, b, c, d], k) => {
    const mm = a * x + b * y + c * z + d;
    return `${Math.abs(mm).toFixed(1)}\u00a0mm\u00a0${SIDES[k][mm < 0 ? 1 : 0]}`;
  });
}

function segments(model, name, label, choices) {
  const group = `ms-${name}-${Math.random()}`;
  const choice = h("fieldset", { class: "ms-segments" }, h("legend", { class: "ms-unseen" }, label));
  for (const [value, text] of Object.entries(choices)) {
    const checked = model.get(name) === value;
    const radio = h("input", { type: "radio", name: group, value, class: "ms-unseen", checked });
    radio.addEventListener("change", () => save(model, { [name]: value }));
    model.on(`change:${name}`, () => { radio.checked = model.get(name) === value; });
    choice.append(h("label", {}, radio, h("span", {}, text)));
  }
  return choice;
}

function slide(label, range, text, moved, released = () => {}) {
  const output = h("output"), input = h("input", { type: "range", ...range });
  input.addEventListener("input", () => moved(Number(input.value)));
  input.addEventListener("change", () => released(Number(input.value)));
  const show = (value) => {
    input.value = value;
    output.textContent = text(value);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  return { element: h("label", { class: "ms-slide" }, label, input, output), input, show };
}

function render({ model, el }) {
  const volumes = {}; // what is unpacked: "sequences" {name: voxels} of this scan, and a map, labels, a reference
  let number = 0, large = 0, due = false, stale = true, resting;
  let zoom = 1, centre = [0, 0, 0];
  let threshold = model.get("threshold"); // as the slider stands, before it is let go
  let measured = 0; // the threshold that the unpacked labels are of
  const draw = () => {
    stale = true;
    drawCrosshair();
  };
  const drawCrosshair = () => { // and the slices that it moves to
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      drawAll();
    });
  };

  const grey = (dx, dy) => save(model, {
    window: clamp(model.get("window") + dx, 1, 510), level: clamp(model.get("level") - dy / 2, 0, 255),
  });
  const put = (axes) => {
    const cursor = [...model.get("cursor")];
    for (const [axis, index] of Object.entries(axes)) cursor[axis] = index;
    if (String(cursor) === String(model.get("cursor"))) return;
    model.set("cursor", cursor); // drawn at once; Python hears of it when it rests, not at every slice
    clearTimeout(resting);
    resting = setTimeout(() => model.save_changes(), REST);
  };
  const spacing = () => (model.get("spacing_mm").length ? model.get("spacing_mm") : [1, 1, 1]);
  const zoomBy = (factor) => { // 0 shows all
    zoom = clamp(zoom * factor, 1, MAX_ZOOM);
    centre = model.get("cursor");
    draw();
  };
  const value = (voxels, [z, y, x]) => voxels?.[(z * model.get("grid")[1] + y) * model.get("grid")[2] + x] ?? 0;
  const views = PLANES.map((plane, k) => planeView(plane, {
    grey,
    zoom: zoomBy,
    move: (axis, index) => put({ [axis]: index }),
    point: (axes, isClick) => {
      put(axes);
      const lesion = value(volumes.labels, model.get("cursor"));
      const isListed = model.get("lesions").some((each) => each.number === lesion);
      if (isClick && isListed && !isPreview()) save(model, { selected: lesion });
    },
    enlarge: () => {
      large = k;
      layOut();
    },
  }));
  const planes = h("div", { class: "ms-planes" }, ...views.map((view) => view.figure));
  const layOut = () => views.forEach((view, k) => {
    view.figure.classList.toggle("ms-large", k === large);
    view.enlarge.hidden = k === large;
  });
  layOut();

  const decimals = (share) => share.toFixed(share > 0.99 && share < 1 ? 3 : 2);
  const percent = (share) => `${Math.round(100 * share)} %`;
  const windowSlide = slide("Window", { min: 1, max: 510 }, Math.round, (window) => save(model, { window }));
  const levelSlide = slide("Level", { min: 0, max: 255, step: 0.5 }, Math.round, (level) => save(model, { level }));
  const button = (text, name, act) => h("button", {
    type: "button", class: "ms-button ms-small", "aria-label": name, title: name, onclick: act,
  }, text);
  const zoomed = h("output", { "aria-live": "polite" });
  const zoomTools = h("div", { class: "ms-zoom", role: "group", "aria-label": "Zoom" },
    button("−", "Zoom out", () => zoomBy(1 / 1.5)), zoomed, button("+", "Zoom in", () => zoomBy(1.5)));
  const reset = h("button", { type: "button", class: "ms-link" }, "Reset view");
  reset.addEventListener("click", () => {
    zoomBy(0);
    save(model, { window: 255, level: 127.5 });
  });
  const opacity = slide("Opacity", { min: 0, max: 1, step: 0.05 }, percent, (share) => save(model, { opacity: share }));
  const cutAt = slide("Threshold", { min: 0.01, max: 0.99, step: 0.01 }, (share) => share.toFixed(2), (share) => {
    threshold = share;
    draw();
  }, (share) => save(model, { threshold: share }));
  // Where a network has operating points, these are chosen: stop by stop, with what to expect there.
  const stops = () => model.get("points"), stop = (k) => stops()[Math.min(k, stops().length - 1)]?.threshold ?? 0;
  const nearest = (share) => stops().reduce((best, { threshold: each }, k) =>
    (Math.abs(each - share) < Math.abs(stop(best) - share) ? k : best), 0);
  const detectAt = slide("Detection", { min: 0, max: 0, step: 1 }, (k) => decimals(stop(k)), (k) => {
    threshold = stop(k);
    draw();
  }, (k) => save(model, { threshold: stop(k) }));
  detectAt.element.title = "A lesion is kept if its score reaches this: the probability of its voxels, the mean taken of log odds.";
  const expected = h("p", { class: "ms-hint ms-expected", role: "status" });
  const tick = h("input", { type: "checkbox" });
  tick.addEventListener("change", () => save(model, { show_reference: tick.checked }));
  const reference = h("label", { class: "ms-check" }, tick, h("i", { class: "ms-line ms-dashed" }), "Reference");
  const sequences = h("div", {}), where = h("p", { class: "ms-where", "aria-live": "off" });
  const maskTools = h("div", { class: "ms-look" }, h("span", { class: "ms-key" }, h("i", { class: "ms-line" }), "Mask"),
    segments(model, "overlay", "How the mask is drawn", OVERLAYS), opacity.element, cutAt.element, detectAt.element, reference);
  const notes = h("p", { class: "ms-hint ms-told" }), table = lesionTable(model);
  const loading = h("p", { class: "ms-busy", role: "status" }, h("i", { class: "ms-spinner" }), "Loading …");
  // JupyterLab would take the arrows for itself.
  el.append(h("div", { class: "ms", "data-lm-suppress-shortcuts": "true" }, h("div", { class: "ms-viewer" },
    h("div", { class: "ms-stage", role: "group", "aria-label": "Scan in three planes" },
      h("div", { class: "ms-toolbar" }, sequences,
        h("div", { class: "ms-look" }, windowSlide.element, levelSlide.element, zoomTools, reset)),
      maskTools, expected, planes, loading, h("div", { class: "ms-below" }, where, h("p", {}, HANDS), notes)),
    table.element)));

  const isPreview = () => Boolean(volumes.prob_map) && threshold !== measured;

  // What the planes show, the crosshair apart.
  function look(voxels) {
    const preview = isPreview();
    return {
      voxels, grid: model.get("grid"), colours: greys(model.get("window"), model.get("level")),
      mask: preview ? volumes.prob_map : volumes.labels,
      isMarked: preview ? byValue((value) => value >= 255 * threshold) : MARKED,
      selected: preview ? 0 : model.get("selected"), overlay: model.get("overlay"), opacity: model.get("opacity"),
      reference: model.get("show_reference") ? volumes.reference : null,
      hasSides: model.get("affine").length > 0, hasScale: model.get("spacing_mm").length > 0,
    };
  }

  function drawPlane(view, shown, cursor) {
    const { plane, canvas, layer } = view, box = canvas.parentElement, { grid } = shown;
    const ratio = view.ratio = Math.min(devicePixelRatio || 1, 2);
    const [width, height] = [box.clientWidth, box.clientHeight].map((size) => Math.max(1, Math.round(size * ratio)));
    const isSized = canvas.width === width && canvas.height === height;
    if (!isSized) for (const each of [canvas, layer]) Object.assign(each, { width, height }); // which costs milliseconds
    if (stale || !isSized || view.index !== cursor[plane.normal]) {
      view.fitted = fit(plane, grid, spacing(), canvas, zoom, centre);
      drawSlice(layer.getContext("2d"), view, shown, cursor[plane.normal]);
    }
    const context = canvas.getContext("2d");
    context.drawImage(layer, 0, 0);
    drawCross(context, view.fitted, cursor[plane.across], rowOf(plane, grid, cursor), ratio);
  }

  // Whether the crosshair is at a place that an enlarged plane does not show.
  function isOutside({ plane, canvas, fitted }, cursor) {
    if (zoom === 1 || !fitted) return false;
    const x = fitted.left + (cursor[plane.across] + 0.5) * fitted.dx;
    const y = fitted.top + (rowOf(plane, model.get("grid"), cursor) + 0.5) * fitted.dy;
    return x < 0 || y < 0 || x > canvas.width || y > canvas.height;
  }

  function drawAll() {
    const voxels = volumes.sequences?.[model.get("sequence")], grid = model.get("grid");
    loading.hidden = Boolean(voxels) || !grid.length;
    if (!voxels) return;
    const affine = model.get("affine"), cursor = model.get("cursor");
    const mm = affine.length ? place(affine, cursor) : null;
    if (views.some((view) => isOutside(view, cursor))) {
      centre = cursor;
      stale = true;
    }
    const shown = look(voxels);
    for (const view of views) drawPlane(view, shown, cursor); // all before any text, whose change costs a layout
    for (const [k, view] of views.entries()) {
      const { plane, canvas } = view, index = cursor[plane.normal], size = grid[plane.normal];
      const name = affine.length ? plane.name : UNKNOWN[k];
      [view.index, view.last] = [index, size - 1];
      view.title.textContent = name;
      view.count.textContent = `${index + 1} / ${size}`;
      view.mm.textContent = mm ? mm[2 - plane.normal] : "";
      view.enlarge.title = view.enlarge.ariaLabel = `Enlarge ${name}`;
      Object.assign(view.slide, { max: size, value: index + 1 });
      const told = `slice ${index + 1} of ${size}${mm ? `, ${view.mm.textContent}` : ""}`;
      for (const [key, text] of [["label", name], ["valuemax", size], ["valuenow", index + 1], ["valuetext", told]]) {
        canvas.setAttribute(`aria-${key}`, text);
      }
    }
    stale = false;
    tell(mm, cursor, voxels);
  }

  function tell(mm, cursor, voxels) {
    const lesion = isPreview() ? 0 : value(volumes.labels, cursor);
    where.replaceChildren(h("b", {}, mm ? mm.join(" · ") : ""),
      [`voxel ${[...cursor].reverse().join(", ")}`, `grey ${value(voxels, cursor)}`,
        volumes.prob_map ? `${stops().length ? "score" : "p"} ${(value(volumes.prob_map, cursor) / 255).toFixed(2)}` : "",
        lesion ? `lesion ${lesion === 255 ? "255 or smaller" : lesion}` : ""].filter(Boolean).join(" · "));
    table.hint.hidden = volumes.labels && !isPreview() && model.get("lesions").length > 0;
    table.box.classList.toggle("ms-stale", isPreview());
    table.hint.textContent = !volumes.labels ? "No mask yet." : isPreview()
      ? `The planes show a threshold of ${decimals(threshold)}, the table still ${decimals(measured)}.`
      : "Nothing is marked.";
    zoomed.textContent = percent(zoom);
    reset.disabled = zoom === 1 && model.get("window") === 255 && model.get("level") === 127.5;
    reset.classList.toggle("ms-disabled", reset.disabled);
    maskTools.hidden = !volumes.labels && !volumes.reference;
    const isByPoints = stops().length > 0;
    cutAt.element.hidden = !volumes.prob_map || isByPoints;
    expected.hidden = detectAt.element.hidden = !volumes.prob_map || !isByPoints;
    if (isByPoints) {
      expected.textContent = stops()[nearest(threshold)].told;
      detectAt.input.max = stops().length - 1;
      detectAt.show(nearest(threshold));
    }
    reference.hidden = !volumes.reference;
    opacity.element.hidden = model.get("overlay") !== "fill";
  }

  // What was unpacked of an older scan, or of older bytes, is thrown away.
  const load = async (name) => {
    const bytes = model.get(name);
    const unpacked = bytes?.byteLength ? await unpack(bytes) : null;
    if (bytes !== model.get(name)) return;
    volumes[name] = unpacked;
    if (name === "labels") measured = model.get("measured_at");
    draw();
  };
  follow(model, ["labels", "measured_at"], () => load("labels"));
  for (const name of ["prob_map", "reference"]) follow(model, [name], () => load(name));
  follow(model, ["image", "sequence", "number"], async () => {
    if (number !== model.get("number")) [number, volumes.sequences, zoom] = [model.get("number"), {}, 1];
    const { sequence, voxels, number: whose } = model.get("image"), wanted = model.get("sequence");
    if (voxels && whose === number && !volumes.sequences[sequence]) {
      const unpacked = await unpack(voxels);
      if (whose === number) volumes.sequences[sequence] = unpacked;
    }
    if (wanted && wanted !== sequence && !volumes.sequences[wanted]) model.send({ kind: "sequence", name: wanted });
    draw();
  });
  follow(model, ["sequences"], () => sequences.replaceChildren(segments(model, "sequence", "Sequence shown",
    Object.fromEntries(model.get("sequences").map(({ name, label }) => [name, label])))));
  follow(model, ["window"], () => windowSlide.show(model.get("window")));
  follow(model, ["level"], () => levelSlide.show(model.get("level")));
  follow(model, ["opacity"], () => opacity.show(model.get("opacity")));
  follow(model, ["show_reference"], () => { tick.checked = model.get("show_reference"); });
  follow(model, ["notes", "affine"], () => {
    notes.textContent = model.get("notes").join(" ");
    notes.classList.toggle("ms-caution", !model.get("affine").length);
  });
  follow(model, ["threshold"], () => {
    threshold = model.get("threshold");
    cutAt.show(threshold);
  });
  follow(model, ["cursor"], drawCrosshair);
  follow(model, ["selected", "window", "level", "overlay", "opacity", "show_reference", "threshold",
    "points", "lesions", "affine", "spacing_mm"], draw);
  const sized = new ResizeObserver(draw);
  for (const view of views) sized.observe(view.canvas.parentElement);
  return () => sized.disconnect();
}

export default { render };
