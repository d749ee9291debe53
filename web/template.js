// One template: what it is, its schemas and examples, and how to make it one's own.
import * as api from "./api.js";
import { h } from "./dom.js";
import { markdown } from "./markdown.js";

export async function templateView(name) {
  const template = await api.template(name);
  const clones = (await api.endpoints().catch(() => [])).filter((endpoint) => endpoint.template?.name === name);
  const facts = [["Version", template.version], ["Licence", template.licence], ["Model", template.model?.name], ["Hardware", template.hardware], ["Image", template.image]];
  return {
    title: template.title || name,
    element: h("div", {},
      h("p", { class: "crumb" }, h("a", { href: "#/" }, "Endpoints and templates")),
      h("h1", { tabindex: "-1" }, template.title || name),
      h("p", {}, template.description),
      h("p", { class: "row" }, clones.map((endpoint) => h("a", { class: "button primary", href: `#/e/${endpoint.name}` }, `Try it on ${endpoint.name}`)),
        h("a", { class: "button", href: `#/new?template=${encodeURIComponent(name)}` }, "Make it an endpoint of your own")),
      clones.length ? null : h("p", { class: "hint" }, "No endpoint that you may call is made from it yet."),
      h("section", { class: "status", "aria-label": "Facts" }, h("dl", {}, facts.filter(([, value]) => value).map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))))),
      (template.examples ?? []).map(exampleView),
      template.input_schema ? h("details", {}, h("summary", {}, "Input schema"), h("pre", { class: "code", tabindex: "0" }, JSON.stringify(template.input_schema, null, 2))) : null,
      template.output_schema ? h("details", {}, h("summary", {}, "Output schema"), h("pre", { class: "code", tabindex: "0" }, JSON.stringify(template.output_schema, null, 2))) : null,
      template.model_card ? h("section", { class: "model-card" }, markdown(template.model_card, 2)) : null),
    stop() {},
  };
}

function exampleView(example) {
  const type = example.headers?.["content-type"] ?? "";
  const sent = example.body_url && /^image\//.test(type) ? h("img", { src: example.body_url, alt: `Input of the example ${example.title || example.name}`, loading: "lazy" })
    : example.body_json !== undefined && example.body_json !== null ? h("pre", { class: "code", tabindex: "0" }, JSON.stringify(example.body_json, null, 2)) : null;
  const text = example.answer?.text ?? (example.answer === undefined ? null : JSON.stringify(example.answer, null, 2));
  return h("section", { class: "example", "aria-label": `Example ${example.title || example.name}` },
    h("h2", {}, `Example: ${example.title || example.name}`),
    h("div", { class: "columns" }, h("div", {}, h("h3", {}, "Sent"), sent), text === null ? null : h("div", {}, h("h3", {}, "Answered"), h("pre", { class: "text", tabindex: "0" }, text))));
}
