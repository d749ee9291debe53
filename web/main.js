// Which view is on: by the fragment of the address, so that the page needs one path and no server.
import * as api from "./api.js";
import { fill, h } from "./dom.js";
import { problemNotice } from "./watch.js";

const main = document.getElementById("main");
let current = { stop() {} }, turn = 0;

/** Each view's module is loaded when it is first wanted. */
async function viewOf(fragment) {
  const [path, query] = fragment.replace(/^#\/?/, "").split("?");
  const [first, name] = path.split("/").map(decodeURIComponent);
  if (first === "e" && name) return (await import("./endpoint.js")).endpointView(name);
  if (first === "t" && name) return (await import("./template.js")).templateView(name);
  if (first === "new") return (await import("./create.js")).createView(Object.fromEntries(new URLSearchParams(query)));
  if (first === "tokens") return (await import("./tokens.js")).tokensView();
  return (await import("./gallery.js")).gallery();
}

async function go(first = false) {
  const mine = ++turn;
  current.stop();
  current = { stop() {} };
  main.setAttribute("aria-busy", "true");
  let view;
  try {
    view = await viewOf(location.hash);
  } catch (error) {
    view = { title: "Problem", element: h("div", {}, h("h1", { tabindex: "-1" }, "This cannot be shown"), problemNotice(error), h("p", {}, h("a", { href: "#/" }, "All endpoints"))), stop() {} };
  }
  if (mine !== turn) { view.stop(); return; } // somebody has gone on meanwhile
  current = view;
  fill(main, view.element);
  main.removeAttribute("aria-busy");
  document.title = `${view.title} · holdfast`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = (location.hash || "#/").split("?")[0];
    if (link.hash === here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (!first) { main.querySelector("h1")?.focus(); scrollTo(0, 0); }
}

function countTokens() {
  const count = api.tokens().length;
  document.getElementById("tokens-link").textContent = count ? `Tokens (${count})` : "Tokens";
}

document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
document.addEventListener("tokens", countTokens);
addEventListener("hashchange", () => go());
countTokens();
go(true);
