// A picture that can be enlarged and moved: by wheel, pinch and drag, by keys, by buttons.

const MAX_ZOOM = 8;

// Applies to whatever pictures an area holds, all alike. `changed` is called after each change of `scale`.
function zoomable(area) {
  const zoom = { scale: 1, x: 0, y: 0, changed: () => {} }; // x, y: where the upper left corner is, in frames
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const apply = () => {
    zoom.x = clamp(zoom.x, 1 - zoom.scale, 0);
    zoom.y = clamp(zoom.y, 1 - zoom.scale, 0);
    for (const name of ["scale", "x", "y"]) area.style.setProperty(`--${name}`, zoom[name]);
    area.classList.toggle("ms-zoomed", zoom.scale > 1);
    zoom.changed();
  };
  const move = (x, y) => {
    zoom.x += x;
    zoom.y += y;
    apply();
  };
  // What is at (x, y), in frames, stays there.
  zoom.by = (factor, x = 0.5, y = 0.5) => {
    const scale = clamp(zoom.scale * factor, 1, MAX_ZOOM), grown = scale / zoom.scale;
    zoom.x = x - (x - zoom.x) * grown;
    zoom.y = y - (y - zoom.y) * grown;
    zoom.scale = scale;
    apply();
  };
  zoom.reset = () => {
    zoom.scale = 1;
    apply();
  };

  const frameAt = (event) => event.target.closest?.(".ms-frame");
  const within = (frame, { clientX, clientY }) => {
    const box = frame.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  };
  area.addEventListener("wheel", (event) => {
    const frame = frameAt(event);
    const scrolls = !area.closest("#dashboard") || matchMedia("(max-width: 1060px)").matches;
    if (!frame || (scrolls && !event.ctrlKey)) return; // the wheel moves the page; with Ctrl, or a pinch, it zooms
    event.preventDefault();
    zoom.by(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), ...within(frame, event));
  }, { passive: false });

  const pointers = new Map(); // id → where it is, in frames
  let frame = null, moved = 0;
  area.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !frameAt(event)) return;
    if (!pointers.size) [frame, moved] = [frameAt(event), 0];
    pointers.set(event.pointerId, within(frame, event));
  });
  area.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = within(frame, event), [x, y] = [now[0] - before[0], now[1] - before[1]];
    moved += Math.hypot(x, y);
    if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (a) => Math.max(0.01, Math.hypot(a[0] - other[0], a[1] - other[1]));
      zoom.by(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      move(x / 2, y / 2);
    } else if (zoom.scale > 1 && moved > 0.01) {
      area.setPointerCapture(event.pointerId); // a click, which does not move, still reaches the lesion under it
      move(x, y);
    }
    pointers.set(event.pointerId, now);
  });
  for (const type of ["pointerup", "pointercancel"]) {
    area.addEventListener(type, ({ pointerId }) => pointers.delete(pointerId));
  }
  area.addEventListener("keydown", (event) => {
    if (event.target !== area || event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = {
      "+": () => zoom.by(1.25), "=": () => zoom.by(1.25), "-": () => zoom.by(0.8), 0: zoom.reset,
      ArrowLeft: () => move(0.1, 0), ArrowRight: () => move(-0.1, 0), ArrowUp: () => move(0, 0.1), ArrowDown: () => move(0, -0.1),
    };
    if (!keys[event.key] || (event.key.startsWith("Arrow") && zoom.scale === 1)) return;
    event.preventDefault();
    keys[event.key]();
  });
  apply();
  return zoom;
}
