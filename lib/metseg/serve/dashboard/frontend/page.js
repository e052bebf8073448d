// The frame of the dashboard: its four parts, the sentence when something is wrong, and the link to the kernel.

const ENDED = "This session has ended: it was idle for long, or the server was stopped. "
  + "Reload the page to start anew; the scan and the settings are not kept.";
const LOST = "The connection to the server is lost. Trying again … If this stays, check your network and reload "
  + "the page; the scan and the settings are kept for a minute only.";
const DEAD = ["dead", "terminating", "restarting", "autorestarting"];

function banner() {
  const text = h("span", { class: "ms-banner-text" });
  const action = h("button", { type: "button", class: "ms-button" });
  return { element: h("div", { class: "ms-banner", role: "alert" }, text, action), text, action };
}

// What holds the page: a link that is gone outweighs any other message.
function watchConnection(model, tell) {
  const kernel = model.widget_manager?.kernel;
  if (!kernel) return; // a page that cannot tell
  const look = () => {
    if (DEAD.includes(kernel.status)) tell(ENDED);
    else tell(kernel.connectionStatus === "connected" ? "" : LOST);
  };
  kernel.statusChanged.connect(look);
  kernel.connectionStatusChanged.connect(look);
}

function facts(model) {
  return model.get("about").map((each) => h("li", {},
    h("strong", {}, each.label), ` · trained on ${each.data} · ${each.licence} · ${each.score} · `,
    h("span", { class: "ms-caution" }, each.caution)));
}

function render({ model, el, host }) {
  const slots = Object.fromEntries(["sources", "volume", "controls", "stage", "planes", "lesions", "visits", "files", "findings"].map((name) => [name, h("div", {})]));
  const notice = banner();
  const about = h("ul", { class: "ms-facts" });
  const root = h("div", { class: "ms" },
    h("header", { class: "ms-header" },
      h("h1", {}, "metseg"),
      h("p", {}, "Brain lesions in MRI"),
      h("p", { class: "ms-badge" }, "Research use only · not a medical device")),
    notice.element,
    h("div", { class: "ms-body" },
      h("section", { class: "ms-side", "aria-label": "Slice and settings" }, slots.sources, slots.volume, slots.controls),
      h("section", { class: "ms-centre", "aria-label": "Pictures" }, slots.stage, slots.planes),
      h("section", { class: "ms-side", "aria-label": "Lesions and files" },
        slots.lesions, slots.visits, slots.files, slots.findings)),
    h("footer", { class: "ms-footer" }, about));
  el.append(root);

  let connection = "";
  const draw = () => {
    const message = connection || model.get("message");
    notice.text.textContent = message;
    notice.action.textContent = connection === ENDED ? "Reload" : "Dismiss";
    notice.action.hidden = connection === LOST;
    notice.element.hidden = !message;
    root.querySelector(".ms-body").inert = connection === ENDED;
    about.replaceChildren(...facts(model));
  };
  notice.action.addEventListener("click", () => {
    if (connection) location.reload();
    else save(model, { message: "" });
  });
  follow(model, ["message", "about"], draw);
  watchConnection(model, (sentence) => {
    if (connection === ENDED || sentence === connection) return;
    connection = sentence;
    draw();
  });
  // Parts that notice something wrong before the kernel could.
  root.addEventListener("ms-message", ({ detail }) => save(model, { message: detail }));

  const parts = { sources: renderSources, controls: renderControls, stage: renderStage, findings: renderFindings };
  for (const [name, renderPart] of Object.entries(parts)) renderPart({ model, el: slots[name] });
  slots.planes.classList.add("ms-of-volumes");
  slots.findings.classList.add("ms-of-slices");
  renderServerScans({ model, el: slots.sources });
  renderVolume({ model, el: slots.volume, host, stage: slots.planes, lesions: slots.lesions, files: slots.files });
  renderVisits({ model, el: slots.visits, stage: slots.planes });
  requestAnimationFrame(() => setTimeout(() => model.send({ kind: "ready" })));
}

export default { render };
