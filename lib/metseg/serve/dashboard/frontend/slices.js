// From voxels to a plane on Canvas2D: WebGL shows nothing where a browser has no GPU. Axes are those of the array,
// 0 for z, 1 for y, 2 for x; a plane's rows run from its upper edge down.

const PLANES = [ // sides: left, right, top, bottom, as an axial grid has them
  { name: "Axial", normal: 0, across: 2, down: 1, flipped: false, sides: "RLAP" },
  { name: "Coronal", normal: 1, across: 2, down: 0, flipped: true, sides: "RLSI" },
  { name: "Sagittal", normal: 2, across: 1, down: 0, flipped: true, sides: "APSI" },
];
const CROSS = "rgb(127 196 255 / .8)";
const GAP = 9; // px around the crosshair's middle, so that what lies there is seen

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

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
  const row = width + 1, steps = [1, row, -1, -row]; // right, down, left, up: the inside is on the right hand
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

// How a plane lies in its canvas: true proportions, as large as fits, or enlarged about a voxel (z, y, x).
function fit(plane, grid, spacing, canvas, zoom, centre) {
  const [width, height] = [grid[plane.across], grid[plane.down]];
  const [stepX, stepY] = [spacing[plane.across], spacing[plane.down]];
  const scale = zoom * Math.min(canvas.width / (width * stepX), canvas.height / (height * stepY)); // px a mm
  const [dx, dy] = [stepX * scale, stepY * scale]; // px a voxel
  const start = (size, all, middle) => all <= size ? (size - all) / 2 : clamp(size / 2 - middle, size - all, 0);
  const left = start(canvas.width, width * dx, (centre[plane.across] + 0.5) * dx);
  const top = start(canvas.height, height * dy, (rowOf(plane, grid, centre) + 0.5) * dy);
  return { width, height, dx, dy, scale, left, top };
}

function rowOf({ down, flipped }, grid, cursor) {
  return flipped ? grid[down] - 1 - cursor[down] : cursor[down];
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

// White on a dark ground, whatever lies below.
function drawText(context, text, x, y, align, ratio) {
  const font = `600 ${13 * ratio}px system-ui, sans-serif`;
  Object.assign(context, { font, textAlign: align, textBaseline: "middle" });
  const width = context.measureText(text).width + 8 * ratio, height = 18 * ratio;
  const left = x - (align === "right" ? width - 4 * ratio : width / 2);
  context.fillStyle = "rgb(0 0 0 / .55)";
  context.beginPath();
  context.roundRect(left, y - height / 2, width, height, 4 * ratio);
  context.fill();
  context.fillStyle = "#e9ebee";
  context.fillText(text, x, y + 0.5 * ratio);
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
  drawText(context, `${mm} mm`, x, y - 14 * ratio, "right", ratio);
}
