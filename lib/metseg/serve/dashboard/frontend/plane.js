// One of the planes: what it shows, and what is done in it.

const MASK = [240, 160, 0], MASK_LINE = "#f0a000", REFERENCE_LINE = "#fff"; // as in metseg.masks.colours
const byValue = (test) => Uint8Array.from({ length: 256 }, (_, value) => (test(value) ? 1 : 0));
const MARKED = byValue((value) => value > 0);

function drawMask(context, { fitted, ratio }, slice, { isMarked, selected, overlay, opacity }) {
  if (overlay === "fill") {
    const tint = rgba(...MASK, Math.round(255 * opacity));
    context.imageSmoothingEnabled = false; // a voxel is in or out
    context.drawImage(picture(slice, Uint32Array.from(isMarked, (is) => (is ? tint : 0))),
      fitted.left, fitted.top, fitted.width * fitted.dx, fitted.height * fitted.dy);
  } else {
    const others = byValue((value) => isMarked[value] && value !== selected);
    drawLines(context, fitted, borders(slice, others), { strokeStyle: MASK_LINE, lineWidth: 1.25 * ratio });
  }
  const picked = byValue((value) => value && value === selected);
  drawLines(context, fitted, borders(slice, picked), { strokeStyle: MASK_LINE, lineWidth: 2.5 * ratio });
}

function drawReference(context, { fitted, ratio }, slice) {
  const lines = borders(slice, MARKED), dash = [4 * ratio, 3 * ratio];
  drawLines(context, fitted, lines, { strokeStyle: "rgb(0 0 0 / .6)", lineWidth: 3 * ratio });
  drawLines(context, fitted, lines, { strokeStyle: REFERENCE_LINE, lineWidth: 1.5 * ratio }, dash);
}

function drawSides(context, sides, { width, height }, ratio) {
  const inset = 12 * ratio;
  const places = [[inset, height / 2], [width - inset, height / 2], [width / 2, inset], [width / 2, height - inset]];
  places.forEach(([x, y], k) => drawText(context, sides[k], x, y, "center", ratio));
}

// All of a plane but its crosshair.
function drawSlice(context, view, shown, index) {
  const { plane, fitted, ratio } = view, { canvas } = context;
  const cutHere = (voxels) => cut(voxels, shown.grid, plane, index);
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = true;
  context.drawImage(picture(cutHere(shown.voxels), shown.colours),
    fitted.left, fitted.top, fitted.width * fitted.dx, fitted.height * fitted.dy);
  if (shown.mask && shown.overlay !== "none") drawMask(context, view, cutHere(shown.mask), shown);
  if (shown.reference) drawReference(context, view, cutHere(shown.reference));
  if (shown.hasSides) drawSides(context, plane.sides, canvas, ratio);
  if (shown.hasScale) drawScale(context, canvas, fitted.scale, ratio);
}

// Makes one with its heading and its slider. `act` has move(axis, index), point(axes, isClick), grey(x, y),
// zoom(factor) and enlarge().
function planeView(plane, act) {
  const title = h("b"), count = h("output"), mm = h("span", { class: "ms-quiet" });
  const enlarge = h("button", { type: "button", class: "ms-button ms-small", onclick: act.enlarge }, "⤢");
  const canvas = h("canvas", { tabindex: 0, role: "slider", "aria-orientation": "vertical", "aria-valuemin": 1,
    "aria-description": "Arrows and page keys change the slice, plus and minus zoom, 0 shows all" });
  // For a mouse or a finger; the canvas has the keys.
  const slide = h("input", { type: "range", min: 1, tabindex: -1, "aria-hidden": "true" });
  slide.addEventListener("input", () => act.move(plane.normal, Number(slide.value) - 1));
  const figure = h("figure", { class: "ms-plane" },
    h("figcaption", {}, title, count, mm, enlarge), h("div", { class: "ms-canvas" }, canvas), slide);
  const layer = new OffscreenCanvas(1, 1); // the plane without its crosshair
  const view = { plane, canvas, layer, figure, title, count, mm, enlarge, slide, fitted: null, ratio: 1, index: -1, last: 0 };

  const step = (by) => act.move(plane.normal, clamp(view.index + by, 0, view.last));
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = {
      ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity,
    };
    const zooms = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 };
    if (event.key in steps) step(steps[event.key]);
    else if (event.key in zooms) act.zoom(zooms[event.key]);
    else return;
    event.preventDefault();
  });
  let turned = 0; // a touchpad turns by a few pixels at a time
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey) { // or a pinch on a touchpad
      act.zoom(Math.exp(-event.deltaY * 0.01));
      return;
    }
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
    const down = plane.flipped ? fitted.height - 1 - y : y;
    act.point({ [plane.across]: x, [plane.down]: down }, event.type === "pointerdown");
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
