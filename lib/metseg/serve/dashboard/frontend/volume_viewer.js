// A scan in three planes on Canvas2D: WebGL shows nothing where a browser has no GPU. Axes are those of the array,
// 0 for z, 1 for y, 2 for x; a plane's rows run from its upper edge down.

const PLANES = [ // sides: left, right, top, bottom, as an axial grid has them
  { name: "Axial", normal: 0, across: 2, down: 1, flipped: false, sides: "RLAP" },
  { name: "Coronal", normal: 1, across: 2, down: 0, flipped: true, sides: "RLSI" },
  { name: "Sagittal", normal: 2, across: 1, down: 0, flipped: true, sides: "APSI" },
];
const UNKNOWN = ["Slices (x, y)", "Section (x, z)", "Section (y, z)"]; // their names without an orientation
const AXES = [["R", "L"], ["A", "P"], ["S", "I"]]; // of x, y, z: where mm are above and below 0
const MASK = [240, 160, 0], MASK_LINE = "#f0a000", REFERENCE_LINE = "#fff", CROSS = "rgb(127 196 255 / .8)";
const OVERLAYS = { fill: "Filled", contour: "Contour", none: "Off" };
const HANDS = "Drag: crosshair · wheel: slices · right or Shift drag: window and level";
const GAP = 9; // px around the crosshair's middle, so that what lies there is seen

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const unpack = (bytes) => new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")))
  .arrayBuffer().then((buffer) => new Uint8Array(buffer));

// One slice of a volume as it is drawn, its upper left voxel first.
function cut(voxels, grid, { normal, across, down, flipped }, index) {
  const step = [grid[1] * grid[2], grid[2], 1];
  const [width, height] = [grid[across], grid[down]];
  const slice = new Uint8Array(width * height);
  for (let row = 0, k = 0; row < height; row += 1) {
    let at = index * step[normal] + (flipped ? height - 1 - row : row) * step[down];
    for (let column = 0; column < width; column += 1, at += step[across]) slice[k++] = voxels[at];
  }
  return { values: slice, width, height };
}

// A slice through a table of 256 colours, as a picture of one pixel a voxel.
function picture(slice, colours) {
  const canvas = new OffscreenCanvas(slice.width, slice.height);
  const data = new ImageData(slice.width, slice.height), pixels = new Uint32Array(data.data.buffer);
  for (let k = 0; k < pixels.length; k += 1) pixels[k] = colours[slice.values[k]];
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

const rgba = (r, g, b, a) => (a << 24 | b << 16 | g << 8 | r) >>> 0; // as little-endian machines keep it

function greys(window, level) {
  return Uint32Array.from({ length: 256 }, (_, value) => {
    const shade = Math.round(clamp((value - level) * (255 / window) + 127.5, 0, 255));
    return rgba(shade, shade, shade, 255);
  });
}

// The borders between inside and outside, along the voxels' edges, as closed lines of corners in voxels.
function borders({ values, width, height }, inside) {
  const isIn = (x, y) => x >= 0 && y >= 0 && x < width && y < height && inside[values[y * width + x]];
  const row = width + 1, steps = [1, row, -1, -row]; // to the right, down, to the left, up: the inside on the right hand
  const edges = new Uint8Array(row * (height + 1)), starts = []; // of each corner, a bit for each step that is an edge
  const edge = (corner, way) => { edges[corner] |= 1 << way; };
  for (let y = 0, k = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, k += 1) {
      if (!inside[values[k]]) continue;
      const at = y * row + x;
      if (!isIn(x, y - 1)) edge(at, 0), starts.push(at);
      if (!isIn(x + 1, y)) edge(at + 1, 1);
      if (!isIn(x, y + 1)) edge(at + 1 + row, 2);
      if (!isIn(x - 1, y)) edge(at + row, 3);
    }
  }
  const lines = [];
  for (const start of starts) { // each closed line has an upper edge
    if (!(edges[start] & 1)) continue;
    const line = [];
    for (let at = start, way = 0, last = -1; edges[at]; at += steps[way], last = way) {
      // Where two voxels touch by a corner, both belong to one lesion: the line goes on to the other.
      way = [3, 0, 1, 2].map((turn) => (way + turn) % 4).find((each) => edges[at] & (1 << each));
      edges[at] &= ~(1 << way);
      if (way !== last) line.push(at % row, Math.floor(at / row));
    }
    lines.push(line);
  }
  return lines;
}

// How a plane lies in its canvas: true proportions, as large as fits.
function fit(plane, grid, spacing, canvas) {
  const [width, height] = [grid[plane.across], grid[plane.down]];
  const [stepX, stepY] = [spacing[plane.across], spacing[plane.down]];
  const scale = Math.min(canvas.width / (width * stepX), canvas.height / (height * stepY)); // px a mm
  const [dx, dy] = [stepX * scale, stepY * scale]; // px a voxel
  return { width, height, dx, dy, scale, left: (canvas.width - width * dx) / 2, top: (canvas.height - height * dy) / 2 };
}

function drawLines(context, { left, top, dx, dy }, lines, style, dash = []) {
  context.save();
  Object.assign(context, style);
  context.setLineDash(dash);
  context.beginPath();
  for (const line of lines) {
    for (let k = 0; k < line.length; k += 2) {
      context[k ? "lineTo" : "moveTo"](left + line[k] * dx, top + line[k + 1] * dy);
    }
    context.closePath();
  }
  context.stroke();
  context.restore();
}

function drawCross(context, { left, top, width, height, dx, dy }, column, row, ratio) {
  const x = left + (column + 0.5) * dx, y = top + (row + 0.5) * dy, gap = GAP * ratio;
  context.strokeStyle = CROSS;
  context.lineWidth = ratio;
  context.beginPath();
  for (const [x1, y1, x2, y2] of [[left, y, x - gap, y], [x + gap, y, left + width * dx, y],
    [x, top, x, y - gap], [x, y + gap, x, top + height * dy]]) {
    if (x2 >= x1 && y2 >= y1) { // at an edge there is no line on that side
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
    }
  }
  context.stroke();
}

function drawText(context, text, x, y, align, ratio) {
  Object.assign(context, { font: `600 ${13 * ratio}px system-ui, sans-serif`, textAlign: align, textBaseline: "middle",
    lineWidth: 3 * ratio, strokeStyle: "#000", fillStyle: "#e9ebee", lineJoin: "round" });
  context.strokeText(text, x, y);
  context.fillText(text, x, y);
}

function drawScale(context, canvas, scale, ratio) {
  const mm = [50, 20, 10, 5].find((each) => each * scale < canvas.width / 4) ?? 1;
  const x = canvas.width - 12 * ratio, y = canvas.height - 12 * ratio;
  for (const [colour, width] of [["#000", 4], ["#e9ebee", 1.5]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: width * ratio });
    context.beginPath();
    context.moveTo(x - mm * scale, y);
    context.lineTo(x, y);
    context.stroke();
  }
  drawText(context, `${mm} mm`, x, y - 11 * ratio, "right", ratio);
}

// The mm of a voxel (z, y, x) as R/L, A/P and S/I.
function place(affine, [z, y, x]) {
  return affine.map(([a, b, c, d], k) => {
    const mm = a * x + b * y + c * z + d;
    return `${Math.abs(mm).toFixed(1)}\u00a0mm\u00a0${AXES[k][mm < 0 ? 1 : 0]}`;
  });
}

// A plane with its heading and its slider. `act` has move(axis, index), point(axes), grey(x, y) and enlarge().
function planeView(plane, act) {
  const title = h("b"), count = h("output"), mm = h("span", { class: "ms-quiet" });
  const enlarge = h("button", { type: "button", class: "ms-button ms-small", onclick: act.enlarge }, "⤢");
  const canvas = h("canvas", { tabindex: 0, role: "slider", "aria-orientation": "vertical", "aria-valuemin": 1 });
  const slide = h("input", { type: "range", min: 1, tabindex: -1, "aria-hidden": "true" }); // the canvas has the keys
  slide.addEventListener("input", () => act.move(plane.normal, Number(slide.value) - 1));
  const figure = h("figure", { class: "ms-plane" },
    h("figcaption", {}, title, count, mm, enlarge), h("div", { class: "ms-canvas" }, canvas), slide);
  const view = { plane, canvas, figure, title, count, mm, enlarge, slide, layer: new OffscreenCanvas(1, 1), fitted: null, ratio: 1, index: -1, last: 0 };

  const step = (by) => act.move(plane.normal, clamp(view.index + by, 0, view.last));
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -1e6, End: 1e6 };
    if (!by[event.key]) return;
    event.preventDefault();
    step(by[event.key]);
  });
  let turned = 0; // a touchpad turns by a few pixels at a time
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey) return; // zooms the page
    event.preventDefault();
    turned += event.deltaMode === 0 ? event.deltaY / 40 : Math.sign(event.deltaY);
    const whole = clamp(Math.trunc(turned), -1, 1); // a notch of a mouse's wheel, of 100 or 120, is one slice
    if (!whole) return;
    turned = 0;
    step(-whole);
  }, { passive: false });

  let grabbed = null;
  const point = (event) => {
    const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width, { fitted } = view;
    const column = Math.floor(((event.clientX - box.left) * ratio - fitted.left) / fitted.dx);
    const row = Math.floor(((event.clientY - box.top) * ratio - fitted.top) / fitted.dy);
    const [x, y] = [clamp(column, 0, fitted.width - 1), clamp(row, 0, fitted.height - 1)];
    act.point({ [plane.across]: x, [plane.down]: plane.flipped ? fitted.height - 1 - y : y }, event.type === "pointerdown");
  };
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    if (!view.fitted || event.button === 1) return;
    canvas.setPointerCapture(event.pointerId);
    grabbed = event.button === 2 || event.shiftKey ? "grey" : "cross";
    if (grabbed === "cross") point(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (grabbed === "grey") act.grey(event.movementX, event.movementY);
    if (grabbed === "cross") point(event);
  });
  for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, () => { grabbed = null; });
  return view;
}

function segments(model, name, label, choices) {
  const group = `ms-${name}-${Math.random()}`;
  const choice = h("fieldset", { class: "ms-segments" }, h("legend", { class: "ms-unseen" }, label));
  for (const [value, text] of Object.entries(choices)) {
    const radio = h("input", { type: "radio", name: group, value, class: "ms-unseen", checked: model.get(name) === value });
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
  return { element: h("label", { class: "ms-slide" }, label, input, output), show };
}

// The lesions; a click, or arrows in the table, take the crosshair to one.
function lesionTable(model) {
  const heading = h("h2", {}, "Lesions"), hint = h("p", { class: "ms-hint", role: "status" }), body = h("tbody");
  const head = h("tr"), more = h("p", { class: "ms-hint" });
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
  const mark = () => rows().forEach((row, k) => {
    const { number } = model.get("lesions")[k], selected = model.get("selected");
    row.setAttribute("aria-selected", number === selected);
    row.tabIndex = number === (selected || 1) ? 0 : -1;
    const top = row.offsetTop - head.offsetHeight;
    if (number !== selected || (top >= box.scrollTop && top + row.offsetHeight < box.scrollTop + box.clientHeight)) return;
    box.scrollTop = top; // of the table alone: the page stays
  });
  follow(model, ["lesions", "more", "labels"], () => {
    const found = model.get("lesions"), inMm = found[0]?.volume_mm3 != null, rated = found[0]?.mean_probability != null;
    const titles = ["#", inMm ? "Volume mm³" : "Voxels", inMm ? "Longest mm" : "Longest px", ...(rated ? ["Mean p"] : [])];
    head.replaceChildren(...titles.map((text) => h("th", { scope: "col" }, text)));
    body.replaceChildren(...found.map((each) => {
      const volume = inMm ? each.volume_mm3 : each.voxels, longest = inMm ? each.longest_mm : each.longest_px;
      const cells = [volume.toFixed(inMm && volume < 100 ? 1 : 0), longest.toFixed(1),
        ...(rated ? [each.mean_probability.toFixed(2)] : [])];
      return h("tr", { tabindex: -1, onclick: () => go(each) },
        h("th", { scope: "row" }, String(each.number)), ...cells.map((text) => h("td", {}, text)));
    }));
    const count = found.length + model.get("more");
    heading.textContent = `Lesions${count ? `: ${count}` : ""}`;
    table.hidden = !count;
    more.textContent = model.get("more") ? `and ${model.get("more")} smaller ones.` : "";
    more.hidden = !model.get("more");
    mark();
  });
  follow(model, ["selected"], mark);
  return { element: h("section", { class: "ms-panel ms-lesions" }, heading, hint, box, more), hint, box };
}

function render({ model, el }) {
  const volumes = {}; // what is unpacked: "sequences" {name: voxels} of this scan, and a map, labels, a reference
  let number = 0, large = 0, due = false, stale = true;
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
    if (String(cursor) !== String(model.get("cursor"))) save(model, { cursor });
  };
  const spacing = () => (model.get("spacing_mm").length ? model.get("spacing_mm") : [1, 1, 1]);
  const value = (voxels, [z, y, x]) => voxels?.[(z * model.get("grid")[1] + y) * model.get("grid")[2] + x] ?? 0;
  const views = PLANES.map((plane, k) => planeView(plane, {
    grey,
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

  const percent = (share) => `${Math.round(100 * share)} %`;
  const windowSlide = slide("Window", { min: 1, max: 510 }, Math.round, (window) => save(model, { window }));
  const levelSlide = slide("Level", { min: 0, max: 255, step: 0.5 }, Math.round, (level) => save(model, { level }));
  const reset = h("button", { type: "button", class: "ms-link", onclick: () => save(model, { window: 255, level: 127.5 }) }, "Reset");
  const opacity = slide("Opacity", { min: 0, max: 1, step: 0.05 }, percent, (share) => save(model, { opacity: share }));
  const cutAt = slide("Threshold", { min: 0.01, max: 0.99, step: 0.01 }, (share) => share.toFixed(2), (share) => {
    threshold = share;
    draw();
  }, (share) => save(model, { threshold: share }));
  const tick = h("input", { type: "checkbox" });
  tick.addEventListener("change", () => save(model, { show_reference: tick.checked }));
  const reference = h("label", { class: "ms-check" }, tick, h("i", { class: "ms-line ms-dashed" }), "Reference");
  const sequences = h("div", {}), where = h("p", { class: "ms-where", "aria-live": "off" });
  const maskTools = h("div", { class: "ms-look" }, h("span", { class: "ms-key" }, h("i", { class: "ms-line" }), "Mask"),
    segments(model, "overlay", "How the mask is drawn", OVERLAYS), opacity.element, cutAt.element, reference);
  const notes = h("p", { class: "ms-hint ms-notes" }), table = lesionTable(model);
  const loading = h("p", { class: "ms-busy", role: "status" }, h("i", { class: "ms-spinner" }), "Loading …");
  el.append(h("div", { class: "ms" }, h("div", { class: "ms-viewer" },
    h("div", { class: "ms-stage", role: "group", "aria-label": "Scan in three planes" },
      h("div", { class: "ms-toolbar" }, sequences,
        h("div", { class: "ms-look" }, windowSlide.element, levelSlide.element, reset)),
      maskTools, planes, loading, h("div", { class: "ms-below" }, where, h("p", {}, HANDS), notes)),
    table.element)));

  const isPreview = () => Boolean(volumes.prob_map) && threshold !== measured;
  const inside = (test) => Uint8Array.from({ length: 256 }, (_, k) => (test(k) ? 1 : 0));
  const marked = inside((k) => k > 0);

  function drawMask(context, view, cutHere) {
    const preview = isPreview(), how = model.get("overlay"), ratio = view.ratio, selected = model.get("selected");
    const slice = preview ? cutHere(volumes.prob_map) : volumes.labels && cutHere(volumes.labels);
    if (!slice || how === "none") return;
    const isMarked = preview ? inside((k) => k >= 255 * threshold) : marked;
    if (how === "fill") {
      const alpha = Math.round(255 * model.get("opacity")), { fitted } = view;
      context.imageSmoothingEnabled = false; // a voxel is in or out
      context.drawImage(picture(slice, Uint32Array.from(isMarked, (is) => (is ? rgba(...MASK, alpha) : 0))),
        fitted.left, fitted.top, fitted.width * fitted.dx, fitted.height * fitted.dy);
    } else {
      const others = selected && !preview ? inside((k) => k > 0 && k !== selected) : isMarked;
      drawLines(context, view.fitted, borders(slice, others), { strokeStyle: MASK_LINE, lineWidth: 1.25 * ratio });
    }
    if (!selected || preview) return;
    drawLines(context, view.fitted, borders(slice, inside((k) => k === selected)), { strokeStyle: MASK_LINE, lineWidth: 2.5 * ratio });
  }

  // All of a plane but its crosshair.
  function drawSlice(context, view, voxels, index) {
    const { plane, fitted, ratio } = view, { width, height } = context.canvas;
    const cutHere = (from) => cut(from, model.get("grid"), plane, index);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    Object.assign(context, { imageSmoothingEnabled: true, imageSmoothingQuality: "low" });
    context.drawImage(picture(cutHere(voxels), greys(model.get("window"), model.get("level"))), fitted.left, fitted.top,
      fitted.width * fitted.dx, fitted.height * fitted.dy);
    drawMask(context, view, cutHere);
    if (volumes.reference && model.get("show_reference")) {
      const lines = borders(cutHere(volumes.reference), marked);
      drawLines(context, fitted, lines, { strokeStyle: "rgb(0 0 0 / .6)", lineWidth: 3 * ratio });
      drawLines(context, fitted, lines, { strokeStyle: REFERENCE_LINE, lineWidth: 1.5 * ratio }, [4 * ratio, 3 * ratio]);
    }
    if (model.get("affine").length) {
      const inset = 12 * ratio, [left, right, top, bottom] = plane.sides;
      drawText(context, left, inset, height / 2, "center", ratio);
      drawText(context, right, width - inset, height / 2, "center", ratio);
      drawText(context, top, width / 2, inset, "center", ratio);
      drawText(context, bottom, width / 2, height - inset, "center", ratio);
    }
    if (model.get("spacing_mm").length) drawScale(context, context.canvas, fitted.scale, ratio);
  }

  function drawPlane(view, voxels, cursor) {
    const { plane, canvas, layer } = view, box = canvas.parentElement, grid = model.get("grid");
    const ratio = view.ratio = Math.min(devicePixelRatio || 1, 2);
    const [width, height] = [box.clientWidth, box.clientHeight].map((size) => Math.max(1, Math.round(size * ratio)));
    const isNew = stale || view.index !== cursor[plane.normal] || canvas.width !== width || canvas.height !== height;
    if (isNew) {
      for (const each of [canvas, layer]) Object.assign(each, { width, height });
      view.fitted = fit(plane, grid, spacing(), canvas);
      drawSlice(layer.getContext("2d"), view, voxels, cursor[plane.normal]);
    }
    const context = canvas.getContext("2d"), row = cursor[plane.down];
    context.drawImage(layer, 0, 0);
    drawCross(context, view.fitted, cursor[plane.across], plane.flipped ? grid[plane.down] - 1 - row : row, ratio);
  }

  function drawAll() {
    const voxels = volumes.sequences?.[model.get("sequence")], grid = model.get("grid");
    loading.hidden = Boolean(voxels) || !grid.length;
    if (!voxels) return;
    const affine = model.get("affine"), cursor = model.get("cursor");
    const mm = affine.length ? place(affine, cursor) : null;
    for (const [k, view] of views.entries()) {
      const { plane, canvas } = view, index = cursor[plane.normal], size = grid[plane.normal];
      const name = affine.length ? plane.name : UNKNOWN[k];
      drawPlane(view, voxels, cursor);
      [view.index, view.last] = [index, size - 1];
      view.title.textContent = name;
      view.count.textContent = `${index + 1} / ${size}`;
      view.mm.textContent = mm ? mm[2 - plane.normal] : "";
      view.enlarge.title = `Enlarge ${name}`;
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
        volumes.prob_map ? `p ${(value(volumes.prob_map, cursor) / 255).toFixed(2)}` : "",
        lesion ? `lesion ${lesion === 255 ? "255 or smaller" : lesion}` : ""].filter(Boolean).join(" · "));
    table.hint.hidden = volumes.labels && !isPreview() && model.get("lesions").length > 0;
    table.box.classList.toggle("ms-stale", isPreview());
    table.hint.textContent = !volumes.labels ? "No mask yet." : isPreview()
      ? `The planes show a threshold of ${threshold.toFixed(2)}, the table still ${measured.toFixed(2)}.`
      : "Nothing is marked.";
    reset.disabled = model.get("window") === 255 && model.get("level") === 127.5;
    reset.classList.toggle("ms-disabled", reset.disabled);
    maskTools.hidden = !volumes.labels && !volumes.reference;
    cutAt.element.hidden = !volumes.prob_map;
    reference.hidden = !volumes.reference;
    opacity.element.querySelector("input").disabled = model.get("overlay") !== "fill";
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
    if (number !== model.get("number")) [number, volumes.sequences] = [model.get("number"), {}];
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
    "lesions", "affine", "spacing_mm"], draw);
  const sized = new ResizeObserver(draw);
  for (const view of views) sized.observe(view.canvas.parentElement);
  return () => sized.disconnect();
}

export default { render };
