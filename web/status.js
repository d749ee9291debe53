// How an endpoint does: a panel that is filled again with every look, without moving what people work in.
import { fill, h } from "./dom.js";
import { ago, coldStart, dollars, replicas, seconds } from "./words.js";

export const chips = (endpoint) => h("span", { class: "chips" },
  h("span", { class: `chip ${endpoint.visibility}` }, endpoint.visibility),
  endpoint.state === "paused" ? h("span", { class: "chip paused" }, "paused") : null,
  endpoint.template ? h("span", { class: "chip" }, `${endpoint.template.name} ${endpoint.template.version}`) : null,
  endpoint.rate_limit ? h("span", { class: "chip" }, limit(endpoint.rate_limit)) : null);

/** A rate limit in words: "15 an hour". */
function limit({ requests, window_s: seconds }) {
  const known = { 1: "a second", 60: "a minute", 3600: "an hour", 86400: "a day" };
  return `${requests} ${known[seconds] ?? `in ${seconds} s`}`;
}

/** One mark per replica: starting, ready, busy, and the free places up to the maximum. The words are beside it. */
export function marks(endpoint) {
  const { pending = 0, ready = 0, busy = 0 } = endpoint.replicas ?? {};
  const most = Math.min(endpoint.scaling?.max_replicas ?? 0, 24);
  const working = Math.min(busy ?? 0, ready ?? 0);
  const kinds = [...Array(working).fill("busy"), ...Array(Math.max(0, (ready ?? 0) - working)).fill("ready"), ...Array(pending ?? 0).fill("pending")];
  while (kinds.length < most) kinds.push("free");
  return h("span", { class: "marks", "aria-hidden": "true" }, kinds.slice(0, 24).map((kind) => h("i", { class: kind })));
}

/** The panel of an endpoint: {element, show(endpoint)}. */
export function statusPanel() {
  const element = h("section", { class: "status", "aria-label": "Status" });
  return {
    element,
    show(endpoint) {
      const now = Date.now() / 1000;
      const rows = [
        ["Replicas", h("span", {}, marks(endpoint), " ", replicas(endpoint))],
        ["Waiting", known(endpoint.waiting)],
        ["Running", known(endpoint.running)],
        ["Last request", ago(endpoint.last_request_at, now)],
      ];
      const latency = endpoint.latency;
      if (latency) rows.push(["Latency", `p50 ${seconds(latency.p50_s)}, p90 ${seconds(latency.p90_s)}, p99 ${seconds(latency.p99_s)}, of ${latency.count} in the last ${seconds(endpoint.window_s)}`]);
      if (endpoint.errors) {
        const causes = Object.entries(endpoint.errors).filter(([, count]) => count > 0);
        rows.push(["Errors", causes.length ? causes.map(([cause, count]) => `${count} ${cause}`).join(", ") : "none"]);
      }
      const price = endpoint.cost;
      if (price) rows.push(["Cost", h("span", { title: `${price.instance_type}, ${price.region}, list price of ${price.prices_from}; machines only` },
        `${dollars(price.usd_per_hour_now)} an hour now, ${dollars(price.usd_this_month)} this month`)]);
      fill(element,
        endpoint.failure ? h("div", { class: "notice bad" }, h("p", {}, h("strong", {}, "No replica can start. "), endpoint.failure)) : null,
        h("dl", {}, rows.map(([label, value]) => h("div", label === "Replicas" ? { class: "wide" } : {}, h("dt", {}, label), h("dd", {}, value)))),
        cold(endpoint));
    },
  };
}

const known = (value) => (value === null || value === undefined ? "not known now" : String(value));

function cold(endpoint) {
  const pieces = coldStart(endpoint.last_cold_start);
  if (!pieces.length) return null;
  const total = pieces.reduce((sum, piece) => sum + piece.seconds, 0);
  const bar = h("div", { class: "bar", "aria-hidden": "true" }, pieces.map((piece) => {
    const part = h("i", { class: piece.phase, title: `${piece.label}: ${seconds(piece.seconds)}` });
    part.style.flexGrow = String(Math.max(piece.seconds, total / 100));
    return part;
  }));
  return h("div", { class: "cold" }, h("h2", {}, `Last cold start: ${seconds(total)}`), bar,
    h("ol", { class: "phases" }, pieces.map((piece) => h("li", {}, h("i", { class: piece.phase, "aria-hidden": "true" }), `${piece.label} `, h("strong", {}, seconds(piece.seconds))))));
}
