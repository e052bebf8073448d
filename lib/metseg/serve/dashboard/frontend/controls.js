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

// The smallest lesion, in the unit that the slice allows. What is out of range, or no whole number of pixels, becomes
// the nearest that can be, in the field too.
function size(model) {
  const id = `ms-size-${(fields += 1)}`;
  const min = 0, max = 100000;
  const label = h("label", { for: id }), input = h("input", { id, type: "number", min, max });
  const shown = () => Number(model.get("min_lesion").toPrecision(6));
  input.addEventListener("input", () => {
    if (input.value === "") return; // nothing yet, or no number yet
    const typed = Number(input.value), whole = model.get("unit") === "px" ? Math.round(typed) : typed;
    const value = Math.min(max, Math.max(min, whole));
    if (value !== typed) input.value = value;
    save(model, { min_lesion: value });
  });
  input.addEventListener("blur", () => { input.value = shown(); });
  follow(model, ["min_lesion", "unit"], () => {
    const unit = model.get("unit");
    label.textContent = `Smallest lesion, ${unit}`;
    input.step = unit === "px" ? 1 : "any";
    input.inputMode = unit === "px" ? "numeric" : "decimal";
    if (Number(input.value) !== model.get("min_lesion") || input.value === "") input.value = shown();
  });
  return h("div", { class: "ms-field ms-number" }, label, input);
}

function networkChoice(model) {
  const id = `ms-network-${(fields += 1)}`;
  const [first, ...others] = model.get("choices").map(({ label }) => label.split(" on ")[1]);
  const hasOneEncoder = others.length > 0 && others.every((each) => each === first); // which the footer names
  const select = h("select", { id }, ...model.get("choices").map(({ name, label }) =>
    h("option", { value: name, title: label }, hasOneEncoder ? label.split(" on ")[0] : label)));
  select.addEventListener("change", () => save(model, { network: select.value }));
  follow(model, ["network"], () => { select.value = model.get("network"); });
  return h("div", { class: "ms-field" }, h("label", { for: id }, "Network"), select);
}

function render({ model, el }) {
  const percent = (value) => `${Math.round(100 * value)} %`;
  const reset = h("button", { type: "button", class: "ms-link", onclick: () => model.send({ kind: "reset" }) }, "Reset");
  const several = model.get("choices").length > 1;
  el.append(
    h("section", { class: "ms-panel" },
      networkChoice(model),
      several ? h("div", { class: "ms-of-slices" }, checkbox(model, "side_by_side", "Side by side")) : null),
    h("section", { class: "ms-panel ms-of-slices" },
      h("div", { class: "ms-heading" }, h("h2", {}, "Settings"), reset),
      slider(model, "threshold", {
        label: "Threshold", min: 0.01, max: 0.99, step: 0.01, text: (value) => value.toFixed(2),
      }),
      size(model),
      checkbox(model, "fill_holes", "Fill holes"),
      slider(model, "opacity", { label: "Opacity of the mask", min: 0, max: 1, step: 0.05, text: percent })));
  follow(model, ["changed"], () => {
    reset.disabled = !model.get("changed");
    reset.classList.toggle("ms-disabled", reset.disabled);
  });
}
