// One endpoint: how it does, and trying it.
import * as api from "./api.js";
import { copyButton, fill, h } from "./dom.js";
import { estimatePanel } from "./estimate.js";
import { markdown } from "./markdown.js";
import { observed } from "./observe.js";
import { chips, statusPanel } from "./status.js";
import { tryIt } from "./tryit.js";
import { problemNotice, watch } from "./watch.js";

export async function endpointView(name) {
  const first = await api.endpoint(name);
  const template = first.template ? await api.template(first.template.name).catch(() => null) : null;
  const panels = [statusPanel(), estimatePanel()];
  const show = (endpoint) => panels.forEach((panel) => panel.show(endpoint));
  show(first);
  const trouble = h("div");
  // A model at work on something else tells nothing before it is done: the page does not wait for that.
  const told = template?.input_schema ? null : await Promise.race([api.containerInterface(name).catch(() => null), new Promise((late) => setTimeout(() => late(null), 2000))]);
  const form = tryIt(first, template?.input_schema ? [template] : told ? (await import("./interface.js")).routes(told) : [], show);
  const seen = observed(name);
  const url = new URL(first.url || `/e/${name}`, location.origin).href;
  const end = watch(async () => {
    try {
      show(await api.endpoint(name));
      fill(trouble);
      await seen.look();
    } catch (error) {
      if (!trouble.childElementCount) fill(trouble, problemNotice(error));
    }
  });
  return {
    title: name,
    element: h("div", {},
      h("p", { class: "crumb" }, h("a", { href: "#/" }, "Endpoints")),
      h("h1", { tabindex: "-1" }, name), chips(first),
      first.description ? h("p", {}, first.description) : null,
      h("p", { class: "row" }, h("code", { class: "url" }, url), copyButton(() => url, "Copy URL")),
      trouble, panels.map((panel) => panel.element), form.element, seen.element,
      told || template ? h("p", {}, h("a", { href: `/docs?endpoint=${encodeURIComponent(name)}` }, "The container's own interface")) : null,
      template?.model_card ? h("details", { class: "model-card" }, h("summary", {}, "Model card"), markdown(template.model_card, 2)) : null),
    stop() { end(); form.stop(); },
  };
}
