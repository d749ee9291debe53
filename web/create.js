// The new-endpoint form: writes the Python to paste, and tells what is wrong in the component library's words.
import * as api from "./api.js";
import { copyButton, fill, h, uid } from "./dom.js";
import { cost, quantity } from "./cost.js";
import { declaration } from "./declare.js";
import { DEFAULTS, PRESETS, problems, SCALING } from "./rules.js";
import { dollars } from "./words.js";

const HINTS = {
  min_replicas: "Always running. 0: nothing runs while idle, and the first request wakes it.",
  max_replicas: "At most this many at once; further requests wait.",
  timeout_s: "Seconds without a request until it goes down to the least.",
  concurrency: "Requests that one replica works on at a time.",
  max_queue: "Requests that may wait; one more is refused.",
  startup_budget_s: "Seconds for a replica to get ready.",
  max_request_s: "Seconds for a request, waiting included.",
};
const LABELS = { min_replicas: "Least replicas", max_replicas: "Most replicas", timeout_s: "Idle timeout, s", concurrency: "Requests at a time", max_queue: "Queue", startup_budget_s: "Start budget, s", max_request_s: "Request limit, s" };

/** `wanted`: {template} to begin with. */
export async function createView(wanted) {
  const templates = await api.templates().catch(() => []);
  let template = null;
  const controls = new Map(); // path → {input, error}
  const input = (path, label, hint, control) => {
    const error = h("p", { class: "error", id: `${control.id}-error` });
    const note = hint ? h("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
    control.setAttribute("aria-describedby", [note?.id, error.id].filter(Boolean).join(" "));
    controls.set(path, { control, error });
    return h("div", { class: "field" }, h("label", { for: control.id }, label), note, error, control);
  };
  const text = (value = "") => h("input", { id: uid("new"), type: "text", value, spellcheck: "false", autocomplete: "off", oninput: draw });
  const select = (options, value) => {
    const control = h("select", { id: uid("new"), onchange: draw }, options.map(([key, label]) => h("option", { value: key }, label)));
    control.value = value;
    return control;
  };

  const name = text(wanted.template ? `my-${wanted.template}` : "my-endpoint");
  const source = select([...templates.map((one) => [one.name, `Template: ${one.title || one.name}`]), ["", "A container image"]], templates.some((one) => one.name === wanted.template) ? wanted.template : templates[0]?.name ?? "");
  const image = text(), port = text(), health = text(), credentials = text(), tokens = h("textarea", { id: uid("new"), rows: 2, spellcheck: "false", oninput: draw });
  const hardware = select([["", "As the template says, or one CPU"], ...PRESETS.map((one) => [one, one])], "");
  const visibility = select([["private", "Private: only with a token"], ["public", "Public: anybody"]], "private");
  const numbers = Object.fromEntries(Object.keys(SCALING).map((field) => [field, h("input", { id: uid("new"), type: "text", inputmode: "numeric", autocomplete: "off", oninput: draw })]));
  const imageFields = h("div", { class: "fields" },
    input("image", "Image", "registry/repository:tag, better with @sha256:…", image),
    h("div", { class: "pair" }, input("port", "Port", "Where the container listens; 8000 unless given.", port), input("health_check_path", "Health check", "200 once the model is ready; /healthcheck unless given.", health)));
  const scaling = (fields) => h("div", { class: "pair" }, fields.map((field) => input(`scaling.${field}`, LABELS[field], HINTS[field], numbers[field])));
  const code = h("pre", { class: "code", tabindex: "0", "aria-label": "Python code" });
  const prices = await api.prices().catch(() => null);
  const costs = h("p", { class: "cost" });
  const verdict = h("div", { class: "notice", id: uid("verdict") });
  const more = h("details", {}, h("summary", {}, "More limits"), scaling(["max_queue", "startup_budget_s", "max_request_s"]));

  const form = h("form", { class: "fields", novalidate: true, "aria-label": "New endpoint", onsubmit: (event) => event.preventDefault() },
    input("name", "Name", "Names it in its URL.", name), input("template", "Made from", null, source), imageFields,
    input("hardware", "Hardware", null, hardware), input("visibility", "Who may call it", null, visibility),
    scaling(["min_replicas", "max_replicas", "timeout_s", "concurrency"]), more,
    input("registry_credentials.secret", "Registry password in Secrets Manager (optional)", "The secret's name; the image is pulled with it.", credentials),
    input("tokens", "Tokens (optional)", "One sha256:… line each, as holdfast token new prints them.", tokens));

  function read() {
    const args = {};
    if (source.value) args.template = source.value;
    else {
      if (image.value.trim()) args.image = image.value.trim();
      const given = number(port.value);
      if (given !== undefined && given !== DEFAULTS.port) args.port = given;
      if (health.value.trim() && health.value.trim() !== DEFAULTS.health_check_path) args.health_check_path = health.value.trim();
    }
    if (hardware.value) args.hardware = hardware.value;
    if (visibility.value !== DEFAULTS.visibility) args.visibility = visibility.value;
    const scaled = {};
    for (const [field, control] of Object.entries(numbers)) {
      const given = number(control.value);
      if (given !== undefined && given !== inherited(field)) scaled[field] = given;
    }
    if (Object.keys(scaled).length) args.scaling = scaled;
    if (credentials.value.trim()) args.registry_credentials = { secret: credentials.value.trim() };
    const lines = tokens.value.split(/\s+/).filter(Boolean);
    if (lines.length) args.tokens = lines;
    return args;
  }
  const inherited = (field) => (source.value ? template?.scaling?.[field] : undefined) ?? SCALING[field][2];

  async function follow() {
    const chosen = source.value;
    const found = chosen ? await api.template(chosen).catch(() => null) : null;
    if (source.value !== chosen) return; // another one was chosen meanwhile
    template = found;
    draw();
  }
  source.addEventListener("change", follow);

  function draw() {
    if (!form.isConnected && !code) return;
    imageFields.hidden = source.value !== "";
    for (const [field, control] of Object.entries(numbers)) control.placeholder = String(inherited(field));
    const args = read();
    const found = problems(name.value.trim(), args, source.value ? template?.scaling ?? {} : {});
    for (const { control, error } of controls.values()) { error.textContent = ""; control.removeAttribute("aria-invalid"); }
    for (const { path, text: words } of found) {
      const at = controls.get(path.replace(/\[.*/, ""));
      if (!at) continue;
      at.error.textContent = at.error.textContent ? `${at.error.textContent} ${words}` : words;
      at.control.setAttribute("aria-invalid", "true");
      if (more.contains(at.control)) more.open = true;
    }
    verdict.classList.toggle("bad", found.length > 0);
    fill(verdict, found.length === 0
      ? h("p", {}, "Paste it into ", h("code", {}, "declare(platform)"), " in ", h("code", {}, "stacks/endpoints.py"), ", then ", h("code", {}, "pulumi preview"), " shows what it costs and changes.")
      : [h("p", {}, found.length === 1 ? "One thing to correct before it would be accepted:" : `${found.length} things to correct before it would be accepted:`), h("ul", {}, found.map((one) => h("li", {}, one.text)))]);
    code.textContent = declaration(name.value.trim(), args);
    tellCost(args);
  }

  /** Floor and ceiling as the library would work them out; a preview adds what changes. */
  function tellCost(args) {
    const of = (field) => args.scaling?.[field] ?? inherited(field);
    const scaled = { min_replicas: of("min_replicas"), max_replicas: of("max_replicas") };
    const asked = hardware.value ? { preset: hardware.value } : { preset: template?.hardware, cpu: quantity(template?.resources?.cpu), memory_mib: quantity(template?.resources?.memory) };
    const sound = Object.values(scaled).every((value) => Number.isInteger(value) && value >= 0) && scaled.min_replicas <= scaled.max_replicas;
    const found = sound ? cost(prices, asked, scaled) : null;
    costs.textContent = !sound ? "No cost is known until the replicas are corrected."
      : !found ? "No cost is known for this: choose hardware with a price."
      : `Costs at least ${dollars(found.floor)} and at most ${dollars(found.ceiling)} a month: ${found.machine} at ${dollars(found.hour)} an hour${found.packed > 1 ? `, shared by up to ${found.packed} replicas` : ""} (${prices.region}, list prices of ${prices.generated}, machines only).`;
  }

  await follow();
  return {
    title: "New endpoint",
    element: h("div", {}, h("p", { class: "crumb" }, h("a", { href: "#/" }, "Endpoints")), h("h1", { tabindex: "-1" }, "New endpoint"),
      h("p", {}, "Endpoints are declared in code and reviewed as diffs. This form writes that code; it changes nothing by itself."),
      h("div", { class: "columns" }, form, h("section", { class: "sticky", "aria-labelledby": "python-title" },
        h("div", { class: "row apart" }, h("h2", { id: "python-title" }, "Python"), copyButton(() => code.textContent)), code, verdict, costs))),
    stop() {},
  };
}

/** A whole number where it is one, else what was written, so that the problem can be told; undefined where empty. */
function number(text) {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  return Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
}
