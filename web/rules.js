// Pure: what a declaration must hold, in the component library's own words. A test runs both on the same cases.

export const PRESETS = ["a100-40gb", "a100-80gb", "a10g", "b200", "b300", "cpu", "cpu-small", "h100", "h200", "l4", "l40s", "rtx-pro-6000", "t4"];

/** Whole numbers of `scaling`: [lowest, highest, default]. */
export const SCALING = {
  min_replicas: [0, 1000, 0],
  max_replicas: [1, 1000, 1],
  timeout_s: [1, 604800, 300],
  concurrency: [1, 1000, 1],
  max_queue: [0, 1000000, 1000],
  startup_budget_s: [1, 21600, 600],
  max_request_s: [1, 43200, 900],
};
export const DEFAULTS = { port: 8000, health_check_path: "/healthcheck", visibility: "private" };

const NAME = /^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$/;
const IMAGE = /^(?:[a-zA-Z0-9.-]+(?::[0-9]{1,5})?\/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;
const SECRET = /^[A-Za-z0-9/_+=.@:-]{1,512}$/;
const DECLARED = /^sha256:([a-z0-9]{4,16}):[0-9a-f]{64}$/;
const WORKER_PORT = 8095;

const shown = (path, value) => {
  // What is no secret's name may be the secret itself.
  if (path.startsWith("tokens[") || path === "registry_credentials.secret") return "(hidden)";
  const text = typeof value === "string" ? `"${value}"` : String(value);
  return text.length <= 60 ? text : `${text.slice(0, 59)}…`;
};

/**
 * Everything wrong with a declaration: [{path, text}] with text `path is value, rule: remedy`. `scaling`: the values
 * that hold where `args.scaling` says nothing: a template's over the defaults.
 */
export function problems(name, args, inherited = {}) {
  const found = [];
  const add = (path, value, rule, remedy) => found.push({ path, text: `${path} is ${shown(path, value)}, ${rule}: ${remedy}` });
  if (!NAME.test(name)) add("name", name, "not a DNS label of at most 40 characters", "use lower-case letters, digits and -, start with a letter and end without -");
  if (args.image !== undefined) imageProblems(args.image, add);
  numberProblems("port", args.port, [1, 65535], add);
  if (args.health_check_path !== undefined) routeProblems("health_check_path", args.health_check_path, add);
  for (const [field, bounds] of Object.entries(SCALING)) numberProblems(`scaling.${field}`, args.scaling?.[field], bounds, add);
  const secret = args.registry_credentials?.secret;
  if (secret !== undefined && !SECRET.test(secret)) add("registry_credentials.secret", secret, "not the name of a Secrets Manager secret", "use its name or ARN: letters, digits and /_+=.@:-");
  tokenShapes(args.tokens ?? [], add);
  const wrong = new Set(found.map((one) => one.path.replace(/\[.*/, "")));
  between(args, inherited, wrong, found, add);
  return found;
}

function imageProblems(image, add) {
  if (image.includes("://")) add("image", image, "a URL", "write the image without http:// or https://");
  else if (!IMAGE.test(image)) add("image", image, "not an image reference", "write registry/repository:tag or registry/repository@sha256:<64 hex>");
}

function numberProblems(path, value, [low, high], add) {
  if (value === undefined) return;
  if (!Number.isInteger(value)) add(path, value, "not a whole number", "write it without quotes and without a fraction");
  else if (value < low) add(path, value, `below ${low}`, `use ${low} or more`);
  else if (value > high) add(path, value, `above ${high}`, `use ${high} or less`);
}

function routeProblems(path, value, add) {
  if (!value.startsWith("/")) add(path, value, "not a route", "start it with /");
  else if (/\s/.test(value)) add(path, value, "not a route", "write it without spaces");
}

function tokenShapes(tokens, add) {
  tokens.forEach((text, index) => {
    if (DECLARED.test(text)) return;
    if (text.startsWith("hf_")) add(`tokens[${index}]`, text, "a token itself, not its hash", "`holdfast token hash` prints what to declare");
    else add(`tokens[${index}]`, text, "not of the form sha256:<id>:<64 hex digits>, as `holdfast token new` prints", "paste the line that `holdfast token new` prints");
  });
}

/** Rules between fields, each left out while a field that it reads is wrong by itself. */
function between(args, inherited, wrong, found, add) {
  const scaling = { ...Object.fromEntries(Object.entries(SCALING).map(([field, [, , value]]) => [field, value])), ...inherited, ...args.scaling };
  const right = (...paths) => !paths.some((path) => wrong.has(path));
  if (args.image === undefined && args.template === undefined) {
    found.push({ path: "image", text: "image is missing, and so are code and template: declare exactly one of image, code, template" });
  }
  if (right("scaling.min_replicas", "scaling.max_replicas") && scaling.min_replicas > scaling.max_replicas) {
    add("scaling.min_replicas", scaling.min_replicas, `above max_replicas=${scaling.max_replicas}`, "lower it or raise max_replicas");
  }
  if (right("scaling.startup_budget_s", "scaling.max_request_s", "scaling.min_replicas") && scaling.min_replicas === 0 && scaling.startup_budget_s >= scaling.max_request_s) {
    add("scaling.startup_budget_s", scaling.startup_budget_s, `not below max_request_s=${scaling.max_request_s}, so the waking request may pass its deadline first`,
      "lower it, raise max_request_s, or keep a replica with min_replicas=1");
  }
  const slots = scaling.max_replicas * scaling.concurrency;
  if (right("scaling.max_replicas", "scaling.concurrency") && slots > 10000) {
    add("scaling.concurrency", scaling.concurrency, `${slots} at once with max_replicas=${scaling.max_replicas}, above a queue's 10000`, "lower one of them, or declare several endpoints");
  }
  if (right("port") && args.port === WORKER_PORT) add("port", args.port, "taken by the worker beside the model", "let the model listen on another port");
  if (right("tokens")) {
    const seen = new Set();
    (args.tokens ?? []).forEach((text, index) => {
      const id = DECLARED.exec(text)[1];
      if (seen.has(id)) add(`tokens[${index}]`, text, `a second token with id ${id}`, "remove one of them");
      seen.add(id);
    });
    if (args.tokens?.length && args.visibility === "public") add("visibility", "public", "which needs no tokens, yet some are declared", "remove tokens or make it private");
  }
}
