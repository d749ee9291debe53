// The HTTP interface for people, drawn from an OpenAPI document: the gateway's own, or with ?endpoint=NAME a container's.
import * as api from "./api.js";
import { fill, h } from "./dom.js";
import { groups } from "./interface.js";
import { problemNotice } from "./watch.js";

const main = document.getElementById("main");

/** `text` with its `code` marked up. */
function prose(text) {
  return String(text ?? "").split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

function pointed(reference, root) {
  return reference.slice(2).split("/").reduce((found, part) => found?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], root);
}

const resolved = (part, root) => (part?.$ref?.startsWith("#/") ? pointed(part.$ref, root) ?? {} : part ?? {});
const anchor = (text) => text.replaceAll(/[^A-Za-z0-9]+/g, "-").replaceAll(/^-|-$/g, "");
const schemaName = (reference) => reference.replace(/^.*\//, "");

/** A schema in a few words, with links to those that have a name. */
export function words(schema, root) {
  if (!schema || !Object.keys(schema).length) return ["anything"];
  if (schema.$ref) {
    const name = schemaName(schema.$ref);
    if (name.startsWith("problem.")) return [h("a", { href: `/problems/${name.slice(8)}` }, name.slice(8))];
    return [h("a", { href: `#schema-${anchor(name)}` }, name)];
  }
  for (const word of ["oneOf", "anyOf", "allOf"]) {
    if (Array.isArray(schema[word])) return schema[word].flatMap((part, index) => [...(index ? [word === "allOf" ? " and " : " or "] : []), ...words(part, root)]);
  }
  if (schema.const !== undefined) return [h("code", {}, JSON.stringify(schema.const))];
  if (schema.enum) return schema.enum.flatMap((value, index) => [...(index ? [" or "] : []), h("code", {}, String(value))]);
  if (schema.type === "array") return ["list of ", ...words(schema.items, root)];
  const type = [schema.type ?? "anything"].flat().join(" or ");
  const rules = ["format", "minimum", "maximum", "default"].filter((rule) => schema[rule] !== undefined).map((rule) => `${rule} ${schema[rule]}`);
  return [rules.length ? `${type} (${rules.join(", ")})` : type];
}

function table(head, rows) {
  return h("div", { class: "scroll" }, h("table", { class: "plain" }, h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, rows)));
}

function bodyWords(content, root) {
  return Object.entries(content ?? {}).flatMap(([type, media], index) => [...(index ? ["; "] : []), h("code", {}, type), " ", ...words(media.schema, root)]);
}

function operation(path, method, one, shared, root) {
  const parameters = [...(shared ?? []), ...(one.parameters ?? [])].map((part) => resolved(part, root));
  const body = resolved(one.requestBody, root);
  return h("details", { class: "operation", id: `${method}-${anchor(path)}` },
    h("summary", {}, h("span", { class: `method ${method}` }, method.toUpperCase()), " ", h("code", {}, path), h("span", { class: "hint" }, " ", prose(one.summary))),
    one.description ? h("p", {}, prose(one.description)) : null,
    parameters.length ? table(["Parameter", "In", "What"], parameters.map((part) => h("tr", {}, h("td", {}, h("code", {}, part.name), part.required ? " *" : ""), h("td", {}, part.in), h("td", {}, prose(part.description), part.description ? ". " : "", words(part.schema, root))))) : null,
    body.content ? h("p", {}, h("strong", {}, "Body: "), bodyWords(body.content, root)) : null,
    table(["Status", "Answer"], Object.entries(one.responses ?? {}).map(([status, answer]) => {
      const found = resolved(answer, root);
      return h("tr", {}, h("td", {}, status), h("td", {}, prose(found.description), found.content ? h("div", { class: "hint" }, bodyWords(found.content, root)) : null));
    })));
}

function schemaView(name, schema, root) {
  const parts = [schema, ...(schema.allOf ?? []).map((part) => resolved(part, root))];
  const properties = Object.assign({}, ...parts.map((part) => part.properties ?? {}));
  const required = new Set(parts.flatMap((part) => part.required ?? []));
  return h("details", { class: "operation", id: `schema-${anchor(name)}` }, h("summary", {}, h("code", {}, name)),
    schema.description ? h("p", {}, prose(schema.description)) : null,
    Object.keys(properties).length ? table(["Property", "What"], Object.entries(properties).map(([key, part]) => h("tr", {}, h("td", {}, h("code", {}, key), required.has(key) ? " *" : ""), h("td", {}, prose(part.description), part.description ? ". " : "", words(part, root))))) : h("p", {}, words(schema, root)));
}

/** The whole document as elements. */
export function documentView(root, title) {
  const schemas = Object.entries(root.components?.schemas ?? {}).filter(([name]) => !name.startsWith("problem."));
  return h("div", {},
    h("h1", { tabindex: "-1" }, title),
    root.info?.description ? h("p", {}, prose(root.info.description)) : null,
    (root.servers ?? []).length ? h("p", {}, "At ", h("code", { class: "url" }, root.servers[0].url)) : null,
    groups(root).map((group) => h("section", {},
      group.title ? h("h2", {}, group.title) : null,
      group.description ? h("p", { class: "hint" }, group.description) : null,
      group.operations.map(({ path, method, one, shared }) => operation(path, method, one, shared, root)))),
    schemas.length ? h("section", {}, h("h2", {}, "Schemas"), schemas.map(([name, schema]) => schemaView(name, schema, root))) : null,
    h("p", { class: "hint" }, "* required"));
}

/** Opens what the address points at; a link within a closed part would lead nowhere. */
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
}

async function show() {
  const endpoint = new URLSearchParams(location.search).get("endpoint");
  try {
    const root = endpoint ? await api.containerInterface(endpoint) : await api.gatewayInterface();
    const title = endpoint ? `${endpoint}: ${root.info?.title ?? "the container's interface"}` : "HTTP interface";
    document.title = `${title} · holdfast`;
    fill(main, documentView(root, title));
  } catch (error) {
    fill(main, h("h1", { tabindex: "-1" }, "This cannot be shown"), problemNotice(error));
  }
  main.removeAttribute("aria-busy");
  openTarget();
}

document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", openTarget);
show();
