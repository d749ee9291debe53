// What an endpoint's replicas do and say: events and logs, asked for while they are open.
import { events, logs } from "./api.js";
import { fill, h } from "./dom.js";
import { ago } from "./words.js";
import { problemNotice } from "./watch.js";

/** A part that is folded away, and looked at again by `look()` while it is open. */
function part(title, ask, draw) {
  const content = h("div");
  const element = h("details", { class: "observed" }, h("summary", {}, title), content);
  let asked = false;
  async function look() {
    if (!element.open || asked) return;
    asked = true;
    try {
      fill(content, draw(await ask()));
    } catch (error) {
      fill(content, problemNotice(error));
    } finally {
      asked = false;
    }
  }
  element.addEventListener("toggle", look);
  return { element, look };
}

function eventRows(found) {
  if (!found.length) return h("p", { class: "hint" }, "Nothing happened within the last hour, or this gateway sees no cluster.");
  const now = Date.now() / 1000;
  return h("div", { class: "scroll" }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, ["When", "What", "Message"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, found.toReversed().map((one) => h("tr", {},
      h("td", {}, ago(Date.parse(one.at) / 1000, now)),
      h("td", { class: one.type === "Warning" ? "warned" : "" }, one.type === "Warning" ? `Warning: ${one.reason}` : one.reason, one.count > 1 ? ` (${one.count}×)` : "", h("div", { class: "hint" }, one.object)),
      h("td", {}, one.message))))));
}

function logTexts(found) {
  if (!found.replicas.length) return h("p", { class: "hint" }, "No replica runs; logs go with their replicas.");
  return found.replicas.map((one) => h("section", {}, h("h3", {}, one.replica), h("pre", { class: "code log", tabindex: "0", "aria-label": `Log of ${one.replica}` }, one.text || "(nothing yet)")));
}

/** {element, look}: both parts of one endpoint. */
export function observed(name) {
  const parts = [part("Events", () => events(name), eventRows), part("Logs", () => logs(name), logTexts)];
  return { element: h("div", {}, parts.map((one) => one.element)), look: () => Promise.all(parts.map((one) => one.look())) };
}
