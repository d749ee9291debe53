// The try-it form of one endpoint: generated from its template's input schema, or a plain request where there is none.
import { tokenFor } from "./api.js";
import { copyButton, fill, h, say, uid } from "./dom.js";
import { fileControl, fromDataUri } from "./files.js";
import { schemaForm } from "./form.js";
import { runner } from "./run.js";
import { problems as problemsOf } from "./schema.js";
import { snippets } from "./snippets.js";

/**
 * `endpoint` as the gateway describes it; `routes`: its template, or what its container tells of its routes, or none.
 * `onstatus`: what was seen while waiting.
 */
export function tryIt(endpoint, routes, onstatus) {
  const [first] = routes;
  const input = first ? fromRoutes(routes, refresh) : plainRequest(refresh);
  const runs = runner(endpoint.name, { outputSchema: () => input.route?.()?.output_schema ?? null, onstatus, onbusy });
  const mode = modes(refresh);
  const code = codeView();
  const summary = h("div", { class: "notice bad", tabindex: "-1", hidden: true });
  const send = h("button", { type: "submit", class: "primary" }, "Send");
  const form = h("form", { novalidate: true, "aria-label": "Request" }, summary, input.element, mode.element, h("div", { class: "row" }, send));
  const element = h("div", { class: "columns" },
    h("section", { "aria-labelledby": "try-title" }, h("h2", { id: "try-title" }, "Try it"), examples(first, input), form),
    h("div", {}, runs.element, h("section", { "aria-labelledby": "code-title" }, h("h2", { id: "code-title" }, "The same call as code"), code.element)));

  function call() {
    const made = input.read();
    const path = `/e/${encodeURIComponent(endpoint.name)}${made.route}`;
    const url = new URL(endpoint.url || `/e/${endpoint.name}`, location.origin).href.replace(/\/$/, "");
    return {
      ...made, name: endpoint.name, path, url: url + made.route, base: location.origin, mode: mode.read(),
      private: endpoint.visibility !== "public" || Boolean(tokenFor(endpoint.name) && endpoint.visibility !== "public"),
    };
  }
  function refresh() { if (code) code.show(snippets(call())); }
  function onbusy(busy) { send.textContent = busy ? "Send again" : "Send"; }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const found = input.check();
    summary.hidden = found.length === 0;
    if (found.length) {
      fill(summary, h("h3", {}, found.length === 1 ? "One thing to correct" : `${found.length} things to correct`),
        h("ul", {}, found.map((problem) => h("li", {}, h("a", { href: `#${problem.target}`, onclick: (click) => { click.preventDefault(); document.getElementById(problem.target)?.focus(); } }, problem.text)))));
      summary.focus();
      return;
    }
    runs.run(call());
    runs.element.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  });
  refresh();
  return { element, stop: runs.stop };
}

/** The form of the chosen route; the choice is left out where there is one route. */
function fromRoutes(routes, onchange) {
  if (routes.length === 1) return fromSchema(routes[0], onchange);
  const forms = new Map();
  const place = h("div");
  const choice = h("select", { id: uid("route"), onchange: choose }, routes.map((one, index) => h("option", { value: String(index) }, one.title)));
  let current = null;
  function choose() {
    const index = Number(choice.value);
    if (!forms.has(index)) forms.set(index, fromSchema(routes[index], onchange));
    current = forms.get(index);
    fill(place, current.element);
    onchange();
  }
  const element = h("div", { class: "fields" }, h("div", { class: "field" }, h("label", { for: choice.id }, "Route"), choice), place);
  forms.set(0, fromSchema(routes[0], onchange));
  current = forms.get(0);
  fill(place, current.element);
  return { element, check: () => current.check(), read: () => current.read(), route: () => current.route() };
}

/** The form of a schema; where a container tells one that is none, a place for any JSON. */
function sound(schema, onchange) {
  try {
    const form = schemaForm(schema, onchange);
    problemsOf(form.read(), schema);
    return [schema, form];
  } catch {
    return [{}, schemaForm({}, onchange)];
  }
}

function fromSchema(template, onchange) {
  const [schema, form] = sound(template.input_schema, onchange);
  return {
    element: form.element,
    form,
    route: () => template,
    check: () => form.show(problemsOf(form.read(), schema)),
    read() {
      const body = form.read() ?? null;
      const files = form.files();
      if (template.input_encoding === "multipart") {
        return { method: "POST", route: template.input_path ?? "/", contentType: "multipart/form-data", body, files, payload: formData(body ?? {}, files), picture: null };
      }
      const pictured = files.find(([, file]) => file.type.startsWith("image/"))?.[0];
      const picture = pictured ? pictured.reduce((value, part) => value?.[part], body) : null;
      return { method: "POST", route: template.input_path ?? "/", contentType: "application/json", body, files, payload: JSON.stringify(body),
        picture: typeof picture === "string" && picture.startsWith("data:") ? picture : null };
    },
  };
}

/** The body as a form: one part for each of its properties. */
function formData(body, files) {
  const found = new FormData();
  for (const [name, value] of Object.entries(body)) {
    const file = files.find(([path]) => path.length === 1 && path[0] === name)?.[1];
    const data = file ? fromDataUri(value.startsWith("data:") ? value : `data:${file.type};base64,${value}`) : null;
    if (data) found.append(name, data.blob, file.name);
    else if (value !== null && value !== undefined) found.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return found;
}

/** Any request, for endpoints of which no schema is known. */
function plainRequest(onchange) {
  const route = h("input", { id: uid("route"), type: "text", value: "/", spellcheck: "false", oninput: onchange });
  const method = h("select", { id: uid("method"), onchange }, ["POST", "GET", "PUT", "PATCH", "DELETE"].map((one) => h("option", {}, one)));
  const type = h("select", { id: uid("type"), onchange: change }, [["application/json", "JSON"], ["text/plain", "Text"], ["file", "A file"], ["", "None"]].map(([value, label]) => h("option", { value }, label)));
  const text = h("textarea", { id: uid("body"), rows: 6, spellcheck: "false", class: "code", oninput: onchange });
  text.value = "{}";
  const error = h("p", { class: "error", id: `${text.id}-error` });
  text.setAttribute("aria-describedby", error.id);
  const file = fileControl({ id: uid("file"), accept: "", onchange });
  const fileField = h("div", { class: "field", hidden: true }, h("span", {}, "File"), file.element);
  const textField = h("div", { class: "field" }, h("label", { for: text.id }, "Body"), error, text);
  function change() { fileField.hidden = type.value !== "file"; textField.hidden = !["application/json", "text/plain"].includes(type.value); onchange(); }
  const json = () => { try { return JSON.parse(text.value); } catch { return undefined; } };
  return {
    element: h("div", { class: "fields" },
      h("p", { class: "hint" }, "This endpoint tells no input schema (its container has no OpenAPI document, or no replica has run yet), so the request is written by hand."),
      h("div", { class: "pair" }, h("div", { class: "field" }, h("label", { for: method.id }, "Method"), method), h("div", { class: "field grow" }, h("label", { for: route.id }, "Route"), route)),
      h("div", { class: "field" }, h("label", { for: type.id }, "Body type"), type), textField, fileField),
    check() {
      const found = [];
      const report = (target, textOf) => found.push({ target, text: textOf });
      error.textContent = "";
      text.removeAttribute("aria-invalid");
      if (!route.value.startsWith("/")) report(route.id, "Route is not a path: start it with /");
      if (hasBody() && type.value === "application/json" && json() === undefined) {
        error.textContent = "Body is not JSON: correct it, or choose Text";
        text.setAttribute("aria-invalid", "true");
        report(text.id, error.textContent);
      }
      if (hasBody() && type.value === "file" && !file.read()) report(file.target.id, "File is missing: choose one");
      return found;
    },
    read() {
      const common = { method: method.value, route: route.value, files: [], picture: null };
      if (!hasBody()) return { ...common, body: null, contentType: null, payload: undefined };
      if (type.value === "file") {
        const found = fromDataUri(file.read() ?? "");
        const named = file.file() ?? { name: "file", type: "application/octet-stream" };
        return { ...common, body: "", contentType: named.type, payload: found?.blob ?? "", files: [[[], named]] };
      }
      const value = type.value === "application/json" ? json() : undefined;
      return { ...common, contentType: type.value, body: value === undefined ? text.value : value, payload: text.value };
    },
  };
  function hasBody() { return type.value !== "" && method.value !== "GET"; }
}

function modes(onchange) {
  const name = uid("mode");
  const options = [["whole", "Whole answer"], ["stream", "As it comes"], ["background", "In the background"]];
  const element = h("fieldset", { class: "modes" }, h("legend", {}, "How to wait"),
    options.map(([value, label], index) => h("label", {}, h("input", { type: "radio", name, value, checked: index === 0, onchange }), label)));
  return { element, read: () => element.querySelector(":checked").value };
}

function codeView() {
  const names = { curl: "curl", python: "Python", javascript: "JavaScript" };
  const pre = h("pre", { class: "code", tabindex: "0", id: uid("code") });
  let chosen = "curl", current = {};
  const tabs = Object.entries(names).map(([key, label]) => h("button", { type: "button", "data-tab": key, "aria-pressed": key === chosen, "aria-controls": pre.id, onclick: () => { chosen = key; draw(); } }, label));
  function draw() {
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset.tab === chosen));
    pre.textContent = current[chosen] ?? "";
  }
  return {
    element: h("div", { class: "codes" }, h("div", { class: "row" }, h("div", { class: "tabs" }, tabs), copyButton(() => current[chosen] ?? "")), pre),
    show(found) { current = found; draw(); },
  };
}

function examples(template, input) {
  if (!template?.examples?.length || !input.form) return null;
  const problem = h("p", { class: "error" });
  const buttons = template.examples.map((example) => h("button", { type: "button", class: "quiet", onclick: () => use(example, input.form).then(
    () => { problem.textContent = ""; say(`Filled in: ${example.title ?? example.name}`); },
    (error) => { problem.textContent = `The example cannot be read: ${error.message}`; }) }, example.title || example.name));
  return h("div", { class: "examples" }, h("span", {}, "Examples: "), buttons, problem);
}

async function use(example, form) {
  if (example.body_json !== undefined && example.body_json !== null) { form.write(example.body_json); return; }
  if (!example.body_url) return;
  const response = await fetch(example.body_url);
  if (!response.ok) throw new Error(`${response.status}`);
  const type = example.headers?.["content-type"] ?? response.headers.get("content-type") ?? "";
  if (/json/.test(type)) { form.write(await response.json()); return; }
  if (/^multipart\/form-data/.test(type)) { await useParts(await new Response(await response.arrayBuffer(), { headers: { "content-type": type } }).formData(), form); return; }
  const control = form.firstFile();
  if (!control) throw new Error("the form has no field for a file");
  const blob = new Blob([await response.arrayBuffer()], { type });
  form.write({});
  await control.take(blob, decodeURIComponent(example.body_url.split("/").pop()));
}

/** Fill in a form that was recorded as it is sent. */
async function useParts(parts, form) {
  const texts = {};
  let file = null;
  for (const [name, value] of parts) {
    if (typeof value === "string") texts[name] = value;
    else file = value;
  }
  form.write(texts);
  if (file) await form.firstFile()?.take(file, file.name);
}
