// The estimate of a cold start beside the last real one. Its words are pure, and tested without a page.
import { fill, h } from "./dom.js";
import { seconds } from "./words.js";

/**
 * Each phase in words: [{phase, text, why}], empty where nothing is estimated. `phases`: an endpoint's
 * cold_start_phases.
 */
export function estimates(phases) {
  if (!phases?.some((one) => one.low_s !== null)) return [];
  return phases.map(({ phase, low_s: low, high_s: high, last_s: last, verdict, why }) => {
    const range = low === null ? "unknown" : high === null ? `${seconds(low)} or more` : `${seconds(low)} to ${seconds(high)}`;
    const took = last === null ? "" : `; it took ${seconds(last)}`;
    const outside = verdict === "slower" || verdict === "faster" ? `, ${verdict} than estimated` : "";
    return { phase, text: `${range}${took}${outside}`, why };
  });
}

/** The panel of an endpoint: {element, show(endpoint)}. */
export function estimatePanel() {
  const element = h("section", { class: "estimate", "aria-label": "Estimated cold start" });
  return {
    element,
    show(endpoint) {
      const found = estimates(endpoint.cold_start_phases);
      element.hidden = !found.length;
      fill(element, h("h2", {}, "Cold start as estimated"),
        h("ul", {}, found.map(({ phase, text, why }) => h("li", {}, `${phase}: `, h("strong", {}, text), ` (${why})`))));
    },
  };
}
