// What all views share: looking again while the page is seen, and how a problem is shown.
import { h } from "./dom.js";

const LOOK_MS = 2000; // how often what is on view is asked for again, while the page is seen

/** Runs `look` now and every LOOK_MS, one at a time. Returns how to stop. */
export function watch(look) {
  let stopped = false, timer = null;
  const again = async () => {
    if (!document.hidden) await look();
    if (!stopped) timer = setTimeout(again, LOOK_MS);
  };
  timer = setTimeout(again, LOOK_MS);
  return () => { stopped = true; clearTimeout(timer); };
}

export function problemNotice(error) {
  return h("div", { class: "notice bad", role: "alert" }, h("p", {}, error.message), error.remedy ? h("p", {}, error.remedy) : null,
    [401, 403].includes(error.status) ? h("p", {}, h("a", { href: "#/tokens" }, "Enter a token")) : null);
}
