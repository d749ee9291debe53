// Pure: numbers, times and states in words. Tested without a page.

/** Bytes for people: 1 kB is 1000 bytes. */
export function bytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1e6) return `${(count / 1e3).toFixed(count < 1e4 ? 1 : 0)} kB`;
  return `${(count / 1e6).toFixed(1)} MB`;
}

/** Seconds for people; "–" where not known. */
export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  const [size, large, small] = value < 3600 ? [1, "min", "s"] : [60, "h", "min"];
  const whole = Math.round(value / size);
  return `${Math.floor(whole / 60)} ${large}${whole % 60 ? ` ${whole % 60} ${small}` : ""}`;
}

/** How long ago, at `now`; both Unix seconds. */
export function ago(at, now) {
  if (at === null || at === undefined) return "none yet";
  const passed = Math.max(0, now - at);
  if (passed >= 2 * 86400) return `${Math.floor(passed / 86400)} days ago`;
  return passed < 2 ? "just now" : `${seconds(passed < 60 ? Math.round(passed) : passed)} ago`;
}

const many = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** An endpoint's replicas in one sentence. `endpoint`: as /v1/endpoints describes it. */
export function replicas(endpoint) {
  const { desired, pending, ready, busy } = endpoint.replicas ?? {};
  if (endpoint.state === "paused") return "Paused: no replicas, requests are refused.";
  if (ready === null || ready === undefined) return busy ? `${many(busy, "replica")} busy.` : "Replicas are not known here.";
  if (!ready && !pending) {
    return desired ? `${many(desired, "replica")} asked for.` : "Nothing runs; the first request wakes it.";
  }
  const parts = [];
  if (pending) parts.push(`${pending} starting`);
  // Busy ones are among the ready: told beside each other they would read as more than there are.
  if (ready) parts.push(busy ? `${ready} ready (${Math.min(busy, ready)} busy)` : `${ready} ready`);
  return `${parts.join(", ")}, ${endpoint.scaling?.max_replicas ?? "?"} at most.`;
}

/**
 * What a held request waits for. Returns {step, text}: `step` is one of held, asked, starting, waiting, working, failed,
 * unknown, and changes only when something happened, so that a live region repeats nothing.
 */
export function holding(endpoint) {
  if (!endpoint) return { step: "unknown", text: "Sent. Waiting for the answer." };
  if (endpoint.failure) return { step: "failed", text: `No replica can start: ${endpoint.failure}` };
  const { desired, pending, ready, busy } = endpoint.replicas ?? {};
  if (ready === null || ready === undefined) {
    if (endpoint.waiting > 0) return { step: "waiting", text: `In the queue: ${many(endpoint.waiting, "request")} waiting for a replica.` };
    if (endpoint.running > 0) return { step: "working", text: "A replica works on it." };
    return { step: "unknown", text: "Sent. Waiting for the answer." };
  }
  if (ready > 0) {
    if (endpoint.waiting > 0 && endpoint.running >= ready * (endpoint.scaling?.concurrency ?? 1)) {
      const rest = pending ? `, ${pending} more starting` : "";
      return { step: "waiting", text: `${ready === 1 ? "The one ready replica is" : `All ${ready} ready replicas are`} busy${rest}; ${many(endpoint.waiting, "request")} waiting.` };
    }
    return { step: "working", text: busy || endpoint.running ? "A replica works on it." : "A replica is ready and takes it." };
  }
  if (pending > 0) return { step: "starting", text: `Scaled: ${many(pending, "replica")} starting. The image is pulled and the model loads.` };
  if (desired > 0) return { step: "asked", text: "Woken: the cluster is asked for a replica." };
  return { step: "held", text: "No replica runs. The request is held and wakes the endpoint." };
}

const PHASES = [
  ["scaled", "asked for"],
  ["scheduled", "machine found"],
  ["pulled", "image pulled, started"],
  ["ready", "model ready"],
  ["answered", "answered"],
];

/**
 * A cold start as consecutive pieces: [{phase, label, from, seconds}]. `phases`: seconds from acceptance until each
 * phase; those that were not seen are left out, and their time counts to the next.
 */
export function coldStart(phases) {
  const pieces = [];
  let from = phases?.accepted ?? 0;
  for (const [phase, label] of PHASES) {
    const at = phases?.[phase];
    if (at === null || at === undefined) continue;
    pieces.push({ phase, label, from, seconds: Math.max(0, at - from) });
    from = Math.max(from, at);
  }
  return pieces;
}

/** The state of a submitted request. `job`: as /requests/<id> answers. */
export function job(found) {
  const position = found.queue_position;
  switch (String(found.status).toUpperCase()) {
    case "QUEUED": return position > 0 ? `In the queue, ${many(position, "request")} before it.` : "In the queue.";
    case "RUNNING": return found.attempt > 1 ? `A replica works on it, attempt ${found.attempt}.` : "A replica works on it.";
    case "SUCCEEDED": return "Done.";
    case "FAILED": return `Failed: ${found.error ?? "no attempt gave an answer"}.`;
    case "EXPIRED": return "Its deadline passed before the answer.";
    case "CANCELED": return "Canceled.";
    default: return `State ${found.status}.`;
  }
}

/** US dollars for people: cents below 100, none above. */
export function dollars(value) {
  if (value === null || value === undefined) return "not known";
  const digits = value !== 0 && value < 0.1 ? 4 : value < 100 ? 2 : 0;
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}
