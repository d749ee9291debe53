// Pure: what a JSON Schema asks for, and what is wrong with a value, in words. Tested without a page.

/** The schema with local references, `allOf` and "or null" folded in. `root`: where `$ref` points into. */
export function plain(schema, root, depth = 0) {
  if (schema === true || schema === undefined || schema === null) return {};
  if (depth > 16) return {}; // a schema that refers to itself: the rest is free JSON
  let found = schema;
  if (typeof found.$ref === "string" && found.$ref.startsWith("#")) {
    const { $ref, ...beside } = found;
    found = { ...plain(pointer(root, $ref.slice(1)), root, depth + 1), ...beside };
  }
  if (Array.isArray(found.allOf)) {
    const { allOf, ...beside } = found;
    found = [...allOf.map((part) => plain(part, root, depth + 1)), beside].reduce(merged);
  }
  for (const word of ["anyOf", "oneOf"]) {
    if (!Array.isArray(found[word])) continue;
    const { [word]: options, ...beside } = found;
    const real = options.filter((option) => option.type !== "null");
    if (real.length === 1) found = { ...plain(real[0], root, depth + 1), ...beside };
  }
  if (Array.isArray(found.type)) {
    const real = found.type.filter((type) => type !== "null");
    found = { ...found, type: real.length === 1 ? real[0] : undefined };
  }
  return found;
}

function merged(a, b) {
  return {
    ...a, ...b,
    ...(a.properties || b.properties ? { properties: { ...a.properties, ...b.properties } } : {}),
    ...(a.required || b.required ? { required: [...new Set([...(a.required ?? []), ...(b.required ?? [])])] } : {}),
  };
}

function pointer(root, path) {
  let found = root;
  for (const part of path.split("/").slice(1)) {
    found = found?.[decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")];
  }
  return found;
}

/** Which control a (plain) schema gets: file, choice, boolean, integer, number, string, array, object or json. */
export function kind(schema) {
  if (Array.isArray(schema.enum) || schema.const !== undefined) return "choice";
  if (schema.type === "string") {
    return schema.contentMediaType || ["uri", "data-url", "binary"].includes(schema.format) ? "file" : "string";
  }
  if (["boolean", "integer", "number"].includes(schema.type)) return schema.type;
  if (schema.type === "array" && schema.items && !Array.isArray(schema.items)) return "array";
  if (schema.properties && (schema.type === "object" || schema.type === undefined)) return "object";
  return "json";
}

/** [name, schema] of an object's fields: by `x-order`, then as declared. */
export function fields(schema, root) {
  return Object.entries(schema.properties ?? {})
    .map(([name, part], index) => ({ name, part: plain(part, root), index }))
    .sort((a, b) => (a.part["x-order"] ?? 1e9) - (b.part["x-order"] ?? 1e9) || a.index - b.index)
    .map(({ name, part }) => [name, part]);
}

/** A field's visible name. */
export function title(name, schema) {
  if (schema.title) return schema.title;
  const words = String(name).replaceAll(/[_-]+/g, " ").trim();
  return words ? words[0].toUpperCase() + words.slice(1) : "Value";
}

/**
 * Everything wrong with `value`: [{path: [names and indexes], label, text}]. `text` follows "label": "Least score is 2,
 * above 1: use 1 or less". `undefined` means left out.
 */
export function problems(value, schema, root = schema, path = [], name = "Input") {
  const part = plain(schema, root);
  const label = title(name, part);
  const wrong = (rule, remedy) => [{ path, label, text: `${label} is ${rule}: ${remedy}` }];
  if (value === undefined) return [];
  switch (kind(part)) {
    case "object": return objectProblems(value, part, root, path, wrong);
    case "array": return arrayProblems(value, part, root, path, label, wrong);
    case "choice": {
      const choices = part.enum ?? [part.const];
      return choices.some((one) => JSON.stringify(one) === JSON.stringify(value))
        ? [] : wrong("not one of the choices", `choose one of ${choices.join(", ")}`);
    }
    case "integer":
    case "number": return numberProblems(value, part, wrong);
    case "boolean": return typeof value === "boolean" ? [] : wrong("neither true nor false", "tick it or leave it");
    case "file":
    case "string": return stringProblems(value, part, wrong);
    default: return [];
  }
}

function objectProblems(value, part, root, path, wrong) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return wrong("not an object", "write {…}");
  const found = [];
  for (const [name, field] of fields(part, root)) {
    const given = value[name];
    if (given === undefined && part.required?.includes(name)) {
      const label = title(name, field);
      const remedy = { file: "choose a file", choice: "choose one", json: "write JSON" }[kind(field)] ?? "fill it in";
      found.push({ path: [...path, name], label, text: `${label} is missing: ${remedy}` });
    } else {
      found.push(...problems(given, field, root, [...path, name], name));
    }
  }
  return found;
}

function arrayProblems(value, part, root, path, label, wrong) {
  if (!Array.isArray(value)) return wrong("not a list", "write […]");
  if (value.length < (part.minItems ?? 0)) return wrong(`${value.length} long, below ${part.minItems}`, "add more");
  if (value.length > (part.maxItems ?? Infinity)) return wrong(`${value.length} long, above ${part.maxItems}`, "remove some");
  if (part.uniqueItems && new Set(value.map((one) => JSON.stringify(one))).size < value.length) return wrong("a list with the same entry twice", "remove one");
  const items = plain(part.items, root);
  return value.flatMap((one, index) => one === undefined
    ? [{ path: [...path, index], label: `${label} ${index + 1}`, text: `${label} ${index + 1} is missing: fill it in or remove it` }]
    : problems(one, { ...items, title: `${label} ${index + 1}` }, root, [...path, index], index));
}

function numberProblems(value, part, wrong) {
  if (typeof value !== "number" || !Number.isFinite(value)) return wrong("not a number", "write digits, with a point before decimals");
  if (part.type === "integer" && !Number.isInteger(value)) return wrong(`${value}, not a whole number`, "write it without a fraction");
  if (value < part.minimum) return wrong(`${value}, below ${part.minimum}`, `use ${part.minimum} or more`);
  if (value <= part.exclusiveMinimum) return wrong(`${value}, not above ${part.exclusiveMinimum}`, `use more than ${part.exclusiveMinimum}`);
  if (value > part.maximum) return wrong(`${value}, above ${part.maximum}`, `use ${part.maximum} or less`);
  if (value >= part.exclusiveMaximum) return wrong(`${value}, not below ${part.exclusiveMaximum}`, `use less than ${part.exclusiveMaximum}`);
  if (part.multipleOf > 0 && Math.abs(value / part.multipleOf - Math.round(value / part.multipleOf)) > 1e-9) {
    return wrong(`${value}, not a multiple of ${part.multipleOf}`, `use steps of ${part.multipleOf}`);
  }
  return [];
}

function stringProblems(value, part, wrong) {
  if (typeof value !== "string") return wrong("not text", "write text");
  const length = [...value].length;
  if (length < (part.minLength ?? 0)) return wrong(length ? `${length} characters, below ${part.minLength}` : "empty", `write at least ${part.minLength}`);
  if (length > (part.maxLength ?? Infinity)) return wrong(`${length} characters, above ${part.maxLength}`, "shorten it");
  if (part.pattern) {
    let pattern = null;
    try { pattern = new RegExp(part.pattern, "u"); } catch { /* another dialect: the model decides */ }
    if (pattern && !pattern.test(value)) return wrong("not of the form that is asked for", `it must match ${part.pattern}`);
  }
  return [];
}
