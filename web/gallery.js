// What there is: endpoints and templates. Like every view it gives {title, element, stop()}: `stop` ends what it does
// in the background.
import * as api from "./api.js";
import { fill, h, say } from "./dom.js";
import { chips, marks } from "./status.js";
import { problemNotice, watch } from "./watch.js";
import { replicas } from "./words.js";

export async function gallery() {
  const list = h("ul", { class: "cards" });
  const cards = new Map();
  let lost = false;
  const trouble = h("div", {});
  const none = h("p", { class: "hint" });
  function draw(found) {
    for (const [name, card] of cards) if (!found.some((one) => one.name === name)) { card.element.remove(); cards.delete(name); }
    for (const endpoint of found) {
      if (!cards.has(endpoint.name)) {
        const card = endpointCard(endpoint.name);
        cards.set(endpoint.name, card);
        list.append(card.element);
      }
      cards.get(endpoint.name).show(endpoint);
    }
    none.textContent = found.length ? "" : api.tokens().length
      ? "Your tokens open no endpoint here, and none is public." : "No endpoint is public here. Private ones show up once you enter a token.";
  }
  async function look() {
    try {
      draw(await api.endpoints());
      if (lost) { lost = false; fill(trouble); say("The gateway answers again"); }
    } catch (error) {
      if (!lost) fill(trouble, problemNotice(error));
      lost = true;
    }
  }
  await look();
  const templates = h("ul", { class: "cards" });
  const catalogue = h("section", { "aria-labelledby": "templates" }, h("h2", { id: "templates" }, "Templates"), templates);
  try {
    const found = await api.templates();
    fill(templates, found.map(templateCard));
    if (!found.length) catalogue.append(h("p", { class: "hint" }, "This gateway serves no catalogue of templates."));
  } catch (error) {
    catalogue.append(problemNotice(error));
  }
  return {
    title: "Endpoints and templates",
    element: h("div", {}, h("h1", { tabindex: "-1" }, "Endpoints"), trouble, list, none, catalogue),
    stop: watch(look),
  };
}

function endpointCard(name) {
  const chipsAt = h("span"), words = h("p", { class: "small" }), about = h("p"), queue = h("p", { class: "small" });
  const element = h("li", { class: "card" },
    h("h2", {}, h("a", { href: `#/e/${name}` }, name)), chipsAt, about, words, queue);
  return {
    element,
    show(endpoint) {
      fill(chipsAt, chips(endpoint));
      about.textContent = endpoint.description;
      about.hidden = !endpoint.description;
      fill(words, marks(endpoint), " ", endpoint.failure ? h("span", { class: "error" }, "No replica can start.") : replicas(endpoint));
      queue.textContent = endpoint.waiting ? `${endpoint.waiting} waiting` : "";
      queue.hidden = !endpoint.waiting;
    },
  };
}

const templateCard = (template) => h("li", { class: "card" },
  h("h3", {}, h("a", { href: `#/t/${template.name}` }, template.title || template.name)),
  h("span", { class: "chips" }, h("span", { class: "chip" }, `${template.name} ${template.version}`), template.hardware ? h("span", { class: "chip" }, template.hardware) : null),
  h("p", {}, template.description));
