// The network and the settings that make a mask of its probabilities.

let fields = 0; // so that several dashboards in one document do not share ids

function slider(model, name, { label, min, max, step, text }) {
  const id = `ms-${name}-${(fields += 1)}`;
  const output = h("output", { for: id });
  const input = h("input", { id, type: "range", min, max, step });
  input.addEventListener("input", () => save(model, { [name]: Number(input.value) }));
  follow(model, [name], () => {
    input.value = model.get(name);
    output.textContent = text(model.get(name));
    input.setAttribute("aria-valuetext", output.textContent);
  });
  return h("div", { class: "ms-field" }, h("label", { for: id }, label), output, input);
}

function checkbox(model, name, label) {
  const input = h("input", { type: "checkbox" });
  input.addEventListener("change", () => save(model, { [name]: input.checked }));
  follow(model, [name], () => { input.checked = model.get(name); });
  return h("label", { class: "ms-check" }, input, label);
}

// What is no whole number in the range becomes the nearest one that is, in the field too.
function number(model, name, label) {
  const id = `ms-${name}-${(fields += 1)}`;
  const min = 0, max = 100000;
  const input = h("input", { id, type: "number", min, max, step: 1, inputmode: "numeric" });
  input.addEventListener("input", () => {
    if (input.value === "") return; // nothing yet, or no number yet
    const value = Math.min(max, Math.max(min, Math.round(Number(input.value))));
    if (value !== Number(input.value)) input.value = value;
    save(model, { [name]: value });
  });
  input.addEventListener("blur", () => { input.value = model.get(name); });
  follow(model, [name], () => {
    if (Number(input.value) !== model.get(name) || input.value === "") input.value = model.get(name);
  });
  return h("div", { class: "ms-field ms-number" }, h("label", { for: id }, label), input);
}

function networkChoice(model) {
  const id = `ms-network-${(fields += 1)}`;
  const select = h("select", { id }, ...model.get("networks").map(({ name, label }) =>
    h("option", { value: name }, label)));
  select.addEventListener("change", () => save(model, { network: select.value }));
  follow(model, ["network"], () => { select.value = model.get("network"); });
  return h("div", { class: "ms-field" }, h("label", { for: id }, "Network"), select);
}

function render({ model, el }) {
  const percent = (value) => `${Math.round(100 * value)} %`;
  const reset = h("button", { type: "button", class: "ms-link", onclick: () => model.send({ kind: "reset" }) }, "Reset");
  const several = model.get("networks").length > 1;
  el.append(
    h("section", { class: "ms-panel" },
      networkChoice(model), several ? checkbox(model, "side_by_side", "Both side by side") : null),
    h("section", { class: "ms-panel" },
      h("div", { class: "ms-heading" }, h("h2", {}, "Settings"), reset),
      slider(model, "threshold", {
        label: "Threshold", min: 0.01, max: 0.99, step: 0.01, text: (value) => value.toFixed(2),
      }),
      number(model, "min_lesion_px", "Smallest lesion, px"),
      checkbox(model, "fill_holes", "Fill holes"),
      slider(model, "opacity", { label: "Opacity of the mask", min: 0, max: 1, step: 0.05, text: percent })));
  follow(model, ["changed"], () => {
    reset.disabled = !model.get("changed");
    reset.classList.toggle("ms-disabled", reset.disabled);
  });
}

export default { render };
