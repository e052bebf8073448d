// What the parts of the page share.

// An element: h("p", { class: "note", onclick }, "text", child)
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// Calls `draw` now and whenever one of the traits changes, once for all that change together.
function follow(model, names, draw) {
  let due = false;
  const once = () => {
    if (due) return;
    due = true;
    queueMicrotask(() => {
      due = false;
      draw();
    });
  };
  for (const name of names) model.on(`change:${name}`, once);
  draw();
}

function save(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
}

// An address for the bytes of a PNG; the one that an image had before is given up.
function showPng(image, bytes) {
  if (image.bytes === bytes) return;
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.bytes = bytes;
  image.src = bytes ? URL.createObjectURL(new Blob([bytes], { type: "image/png" })) : "";
}

// Hands a ZIP file to the visitor.
function download(name, bytes) {
  const link = h("a", { href: URL.createObjectURL(new Blob([bytes], { type: "application/zip" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
