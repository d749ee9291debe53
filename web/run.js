// Sends one request and tells what becomes of it: held, woken, waiting, worked on, answered.
import { authorization, cancelJob, endpoint as describe, job as askJob, Problem } from "./api.js";
import { answerView } from "./answer.js";
import { fill, h, say } from "./dom.js";
import { bytes, holding, job as jobWords, seconds } from "./words.js";

const LOOK_MS = 1000; // how often the endpoint is looked at while a request is held

/**
 * A runner with its own place on the page: {element, run(call), busy()}. `call` as in snippets.js, plus `payload` (what
 * is sent) and `picture`. `onstatus(endpoint)`: what was seen of the endpoint meanwhile.
 */
export function runner(name, { outputSchema = () => null, onstatus = () => {}, onbusy = () => {} } = {}) {
  const state = h("p", { class: "state" });
  const clock = h("span", { class: "clock", "aria-hidden": "true" });
  const cancel = h("button", { type: "button", class: "quiet", hidden: true }, "Cancel");
  const bar = h("div", { class: "progress", hidden: true }, h("span"));
  const output = h("div", { class: "output" });
  const facts = h("p", { class: "hint" });
  const element = h("section", { class: "answer", "aria-label": "Answer", hidden: true },
    h("div", { class: "row" }, state, clock, cancel), bar, output, facts);
  let current = null;
  cancel.addEventListener("click", () => current?.abort());

  function tell(text, step) {
    if (state.dataset.step === step && state.textContent === text) return;
    const changed = state.dataset.step !== step;
    state.textContent = text;
    state.dataset.step = step;
    if (changed) say(text); // only what happened is announced, not every second
  }

  async function run(call) {
    current?.abort();
    const abort = current = new AbortController();
    const began = performance.now();
    element.hidden = cancel.hidden = bar.hidden = false;
    element.setAttribute("aria-busy", "true");
    fill(output);
    facts.textContent = "";
    state.dataset.step = "";
    tell(`Sending${call.payload?.length > 2000 ? ` ${bytes(call.payload.length ?? call.payload.size)}` : ""}.`, "sending");
    onbusy(true);
    const tick = setInterval(() => { clock.textContent = `${Math.round((performance.now() - began) / 1000)} s`; }, 1000);
    clock.textContent = "";
    try {
      await (call.mode === "background" ? background(call, abort, began) : held(call, abort, began));
    } catch (error) {
      if (current === abort) failed(error, abort); // else it was sent again, and another one is told of here
    } finally {
      clearInterval(tick);
      if (current === abort) {
        current = null;
        cancel.hidden = bar.hidden = true;
        element.removeAttribute("aria-busy");
        clock.textContent = "";
        onbusy(false);
      }
    }
  }

  function request(call, abort, headers = {}) {
    const sent = { ...authorization(name), ...headers };
    // A form's type has a boundary that only the browser knows.
    if (call.body !== null && call.contentType && !(call.payload instanceof FormData)) sent["content-type"] = call.contentType;
    return fetch(call.path, { method: call.method, headers: sent, body: call.body === null ? undefined : call.payload, signal: abort.signal, cache: "no-store" });
  }

  async function held(call, abort, began) {
    let answered = false;
    const looking = (async () => {
      while (!answered && !abort.signal.aborted) {
        await pause(LOOK_MS, abort.signal);
        if (answered || abort.signal.aborted || document.hidden) continue;
        const seen = await describe(name, abort.signal).catch(() => null);
        if (answered || abort.signal.aborted) continue;
        if (seen) onstatus(seen);
        const { text, step } = holding(seen);
        tell(text, step);
      }
    })();
    try {
      const response = await request(call, abort);
      answered = true;
      await show(response, call, began);
    } finally {
      answered = true;
      looking.catch(() => {});
    }
  }

  async function background(call, abort, began) {
    const response = await request(call, abort, { prefer: "respond-async" });
    if (response.status !== 202) { await show(response, call, began); return; }
    const { id } = await response.json();
    facts.textContent = `Request ${id}. The answer is kept for 24 hours.`;
    abort.signal.addEventListener("abort", () => cancelJob(id, name).catch(() => {}));
    let found = { status: "QUEUED" };
    while (["QUEUED", "RUNNING"].includes(found.status)) {
      found = await askJob(id, name, 1, abort.signal); // held by the gateway until it ended, or a second
      const seen = found.status === "QUEUED" ? await describe(name, abort.signal).catch(() => null) : null;
      if (seen) onstatus(seen);
      const idle = seen && !(seen.replicas?.ready > 0) && seen.replicas?.ready !== null;
      tell(idle ? `${jobWords(found)} ${holding(seen).text}` : jobWords(found), `${found.status} ${found.attempt} ${idle ? holding(seen).step : ""}`);
    }
    if (found.status !== "SUCCEEDED") throw new Problem(0, { title: jobWords(found).replace(/\.$/, ""), remedy: "Send it again if it is still wanted.", request_id: id });
    await show(await fetch(`/requests/${encodeURIComponent(id)}/result`, { headers: authorization(name), signal: abort.signal }), call, began);
  }

  async function show(response, call, began) {
    const type = response.headers.get("content-type");
    const first = (performance.now() - began) / 1000;
    if (!response.ok) throw Problem.of(response.status, response.statusText, await response.text(), response.headers);
    tell("The answer is coming in.", "receiving");
    const view = answerView(output, type, { schema: outputSchema(), picture: call.picture });
    const reader = response.body?.getReader();
    for (let part = await reader?.read(); part && !part.done; part = await reader.read()) view.add(part.value);
    const size = view.end();
    const total = (performance.now() - began) / 1000;
    tell(`Answered with ${response.status} in ${seconds(total)}.`, "done");
    const number = (header) => { const text = response.headers.get(header); return text === null ? null : Number(text); };
    facts.textContent = [
      `first byte after ${seconds(first)}`, bytes(size),
      number("x-queue-s") === null ? null : `waited ${seconds(number("x-queue-s"))}`,
      number("x-model-s") === null ? null : `model ${seconds(number("x-model-s"))}`,
      response.headers.get("x-replica") ? `replica ${response.headers.get("x-replica")}` : null,
      number("x-attempt") > 1 ? `attempt ${number("x-attempt")}` : null,
      response.headers.get("x-request-id") ? `request ${response.headers.get("x-request-id")}` : null,
    ].filter(Boolean).join(" · ");
  }

  function failed(error, abort) {
    if (abort.signal.aborted) { tell("Canceled.", "canceled"); return; }
    const problem = error instanceof Problem ? error
      : new Problem(0, { title: "The connection broke", detail: error.message, remedy: "Check that the gateway can be reached, and send it again." });
    tell(problem.message, `failed ${problem.status}`);
    fill(output, h("div", { class: "notice bad" },
      h("p", {}, h("strong", {}, problem.title), problem.detail ? `: ${problem.detail}` : ""),
      // A remedy that only points at `detail` says nothing beside it.
      problem.remedy && !problem.remedy.startsWith("`detail`") ? h("p", {}, problem.remedy) : null,
      problem.retryAfter ? h("p", {}, `It may work again in ${seconds(Number(problem.retryAfter))}.`) : null,
      [401, 403].includes(problem.status) ? h("p", {}, h("a", { href: "#/tokens" }, "Enter a token")) : null));
    if (problem.requestId) facts.textContent = `request ${problem.requestId}`;
  }

  return { element, run, busy: () => current !== null, stop: () => current?.abort() };
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
