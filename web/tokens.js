// The tokens of this tab.
import * as api from "./api.js";
import { fill, h, say, uid } from "./dom.js";

export async function tokensView() {
  const id = uid("token");
  const input = h("input", { id, type: "password", autocomplete: "off", spellcheck: "false", "aria-describedby": `${id}-hint ${id}-error` });
  const error = h("p", { class: "error", id: `${id}-error` });
  const list = h("ul", { class: "plain" });
  const form = h("form", { novalidate: true, class: "fields" },
    h("div", { class: "field" }, h("label", { for: id }, "Token"),
      h("p", { class: "hint", id: `${id}-hint` }, "Starts with hf_. It stays in this tab until you close it, and is sent to this gateway only, in a header."), error, input),
    h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Use this token")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    const wrong = api.tokenProblem(text);
    error.textContent = wrong ?? "";
    input.toggleAttribute("aria-invalid", Boolean(wrong));
    if (wrong) { input.setAttribute("aria-invalid", "true"); input.focus(); return; }
    api.addToken(text);
    input.value = "";
    await draw();
    say(`Token ${api.tokenName(text)} is used`);
  });
  async function draw() {
    const found = await api.endpoints().catch(() => []);
    fill(list, api.tokens().map((token) => {
      const opens = found.filter((endpoint) => endpoint.visibility !== "public" && api.tokenFor(endpoint.name) === token).map((endpoint) => endpoint.name);
      return h("li", { class: "row" }, h("code", {}, `hf_${api.tokenName(token)}_…`),
        h("span", {}, opens.length ? h("span", {}, "opens ", opens.map((name, index) => [index ? ", " : "", h("a", { href: `#/e/${name}` }, name)]).flat()) : "opens no endpoint that is here now"),
        h("button", { type: "button", class: "quiet", "aria-label": `Forget token ${api.tokenName(token)}`, onclick: async () => { api.removeToken(token); await draw(); input.focus(); } }, "Forget"));
    }));
    document.dispatchEvent(new Event("tokens"));
  }
  await draw();
  return {
    title: "Tokens",
    element: h("div", {}, h("h1", { tabindex: "-1" }, "Tokens"), h("p", {}, "Private endpoints open with a token. ", h("code", {}, "holdfast token new"), " makes one, and prints the line for the stack code."), form, list),
    stop() {},
  };
}
