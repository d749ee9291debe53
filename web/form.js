// A form from a JSON Schema: every control has a visible label, its hint and its problem are tied to it, and it reads
// to plain data. Controls: {element, read, write, find(path), files(path)}.
import { fill, h, uid } from "./dom.js";
import { fileControl } from "./files.js";
import { fields, kind, plain, title } from "./schema.js";

/** The form of a schema. `onchange` is called after every change. */
export function schemaForm(schema, onchange = () => {}) {
  const root = plain(schema, schema);
  const context = { root: schema, onchange, within: [] };
  const control = kind(root) === "object" ? objectControl(root, context) : field("input", root, true, context);
  let shown = [];
  return {
    element: control.element,
    /** The form's value; `undefined` parts are left out. */
    read: () => control.read(),
    /** Fills the form; what `value` lacks becomes empty. `files`: {name: {name, type}} of data URIs in it. */
    write: (value, files = {}) => { control.write(value, files); onchange(); },
    /** The file control of a field, for an example that is a file. */
    firstFile: () => control.firstFile?.() ?? null,
    /** [[path, {name, type}]] of the files that were chosen. */
    files: () => control.files([]),
    /** Shows problems beside their fields. Returns them with `target`: the id to link to. */
    show(problems) {
      for (const leaf of shown) leaf.setError("");
      shown = [];
      return problems.map((problem) => {
        const leaf = control.find(problem.path) ?? control;
        if (leaf.setError) { leaf.setError(problem.text); shown.push(leaf); }
        return { ...problem, target: leaf.id };
      });
    },
  };
}

const MAX_DEPTH = 8; // groups within groups; whoever needs more writes JSON

function make(name, part, required, context) {
  const type = kind(part);
  if (type === "object") {
    // A schema that refers to itself has no end as a form: what comes a second time is written as JSON.
    const endless = context.within.includes(part.properties) || context.within.length >= MAX_DEPTH;
    return endless ? field(name, { title: title(name, part), description: part.description, default: part.default }, required, context) : groupControl(name, part, required, context);
  }
  if (type === "array") return arrayControl(name, part, context);
  return field(name, part, required, context);
}

/** An object's fields without a frame of its own. */
function objectControl(part, context) {
  const inner = { ...context, within: [...context.within, part.properties] };
  const controls = fields(part, context.root).map(([name, schema]) => [name, make(name, schema, part.required?.includes(name) ?? false, inner)]);
  return {
    element: h("div", { class: "fields" }, controls.map(([, control]) => control.element)),
    read() {
      const value = {};
      for (const [name, control] of controls) {
        const found = control.read();
        if (found !== undefined) value[name] = found;
      }
      return value;
    },
    write(value, files) { for (const [name, control] of controls) control.write(value?.[name], files?.[name] ?? {}); },
    find(path) { return controls.find(([name]) => name === path[0])?.[1].find(path.slice(1)) ?? null; },
    files: (path) => controls.flatMap(([name, control]) => control.files([...path, name])),
    firstFile: () => controls.map(([, control]) => control.firstFile?.()).find(Boolean) ?? null,
  };
}

function groupControl(name, part, required, context) {
  const inner = objectControl(part, context);
  const element = h("fieldset", {}, h("legend", {}, title(name, part)), part.description ? h("p", { class: "hint" }, part.description) : null, inner.element);
  return {
    ...inner,
    element,
    read() {
      const value = inner.read();
      return required || Object.keys(value).length ? value : undefined; // an optional group that nobody filled is left out
    },
  };
}

function arrayControl(name, part, context) {
  const id = uid("list"), items = plain(part.items, context.root), label = title(name, part);
  const list = h("ol", { class: "list" });
  const error = h("p", { class: "error", id: `${id}-error` });
  let controls = [];
  const add = h("button", { type: "button", class: "quiet", id, "aria-describedby": error.id }, `Add to ${label}`);
  add.addEventListener("click", () => {
    const control = append();
    context.onchange();
    control.element.querySelector("input, select, textarea")?.focus();
  });
  function append() {
    const control = make(name, { ...items, title: `${label} ${controls.length + 1}` }, true, { ...context, within: [] }); // made when it is asked for: no end is needed
    const remove = h("button", { type: "button", class: "quiet", "aria-label": `Remove ${label} ${controls.length + 1}` }, "Remove");
    const row = h("li", {}, control.element, remove);
    remove.addEventListener("click", () => {
      controls = controls.filter((one) => one !== control);
      row.remove();
      add.focus();
      context.onchange();
    });
    controls.push(control);
    list.append(row);
    return control;
  }
  const element = h("fieldset", {}, h("legend", {}, label), part.description ? h("p", { class: "hint" }, part.description) : null, list, error, add);
  const self = {
    id,
    element,
    read: () => (controls.length || part.minItems ? controls.map((control) => control.read()) : undefined),
    write(value) {
      controls = [];
      fill(list);
      for (const one of value ?? part.default ?? []) append().write(one, {});
    },
    find: (path) => (path.length ? controls[path[0]]?.find(path.slice(1)) : null) ?? self,
    files: (path) => controls.flatMap((control, index) => control.files([...path, index])),
    setError: (text) => { error.textContent = text; },
  };
  self.write(part.default);
  return self;
}

/** One labelled control. */
function field(name, part, required, context) {
  const id = uid("field"), type = kind(part);
  const label = title(name, part);
  const hint = part.description ? h("p", { class: "hint", id: `${id}-hint` }, part.description) : null;
  const error = h("p", { class: "error", id: `${id}-error` });
  const describedby = [hint?.id, error.id].filter(Boolean).join(" ");
  const builders = { boolean: booleanInput, choice: choiceInput, integer: numberInput, number: numberInput, file: fileInput, json: jsonInput };
  const input = (builders[type] ?? textInput)({ id, part, required, describedby, onchange: context.onchange });
  const caption = type === "boolean"
    ? h("div", { class: "check" }, input.element, h("label", { for: id }, label))
    : h("label", { for: id }, label, required ? null : h("span", { class: "optional" }, " (optional)"));
  const element = h("div", { class: `field ${type}` }, caption, hint, error, type === "boolean" ? null : input.element);
  const self = {
    id,
    element,
    read: () => input.read(),
    write: (value, file) => input.write(value === undefined ? part.default : value, file?.name ? file : null),
    find: () => self,
    files: (path) => (input.file?.() ? [[path, input.file()]] : []),
    firstFile: () => (type === "file" ? { name, ...input } : null),
    setError(text) {
      error.textContent = text;
      input.target.toggleAttribute("aria-invalid", Boolean(text));
      if (text) input.target.setAttribute("aria-invalid", "true");
    },
  };
  if (part.default !== undefined) input.write(part.default);
  return self;
}

function textInput({ id, part, required, describedby, onchange }) {
  const long = (part.maxLength ?? Infinity) > 120 && !part.format && !part.pattern;
  const types = { email: "email", date: "date", time: "time", password: "password" };
  const target = long
    ? h("textarea", { id, rows: 3, "aria-describedby": describedby, oninput: onchange })
    : h("input", { id, type: types[part.format] ?? "text", "aria-describedby": describedby, oninput: onchange });
  if (part.examples?.[0] !== undefined) target.setAttribute("placeholder", String(part.examples[0]));
  return {
    element: target, target,
    read: () => (target.value === "" && (!required || (part.minLength ?? 0) > 0) ? undefined : target.value),
    write: (value) => { target.value = value ?? ""; },
  };
}

function numberInput({ id, part, describedby, onchange }) {
  const low = part.minimum ?? part.exclusiveMinimum, high = part.maximum ?? part.exclusiveMaximum;
  const target = h("input", { id, type: "text", inputmode: part.type === "integer" ? "numeric" : "decimal", autocomplete: "off", "aria-describedby": describedby, class: "number" });
  const read = () => {
    const text = target.value.trim().replace(",", ".");
    if (text === "") return undefined;
    const value = Number(text);
    return Number.isNaN(value) ? target.value : value; // kept as text, so that the problem can be told
  };
  let element = target, slider = null;
  if (Number.isFinite(low) && Number.isFinite(high) && high > low) {
    const step = part.multipleOf ?? (part.type === "integer" ? 1 : 10 ** Math.floor(Math.log10((high - low) / 100) + 1e-9));
    slider = h("input", { type: "range", min: low, max: high, step, "aria-label": `${part.title ?? "Value"}, slider`, "aria-describedby": describedby });
    slider.addEventListener("input", () => { target.value = slider.value; onchange(); });
    element = h("div", { class: "slider" }, slider, target);
  }
  target.addEventListener("input", () => { if (slider && typeof read() === "number") slider.value = read(); onchange(); });
  return { element, target, read, write: (value) => { target.value = value ?? ""; if (slider && value !== undefined) slider.value = value; } };
}

function booleanInput({ id, part, required, describedby, onchange }) {
  const target = h("input", { id, type: "checkbox", "aria-describedby": describedby, onchange });
  const told = required || part.default !== undefined;
  return { element: target, target, read: () => (target.checked || told ? target.checked : undefined), write: (value) => { target.checked = value === true; } };
}

function choiceInput({ id, part, required, describedby, onchange }) {
  const choices = part.enum ?? [part.const];
  const none = required && part.default !== undefined ? null : h("option", { value: "" }, required ? "Choose one" : "The model's own choice");
  const target = h("select", { id, "aria-describedby": describedby, onchange }, none, choices.map((one, index) => h("option", { value: index }, one === null ? "none" : String(one))));
  return {
    element: target, target,
    read: () => (target.value === "" ? undefined : choices[Number(target.value)]),
    write: (value) => { const index = choices.findIndex((one) => JSON.stringify(one) === JSON.stringify(value)); target.value = index < 0 ? "" : String(index); },
  };
}

function fileInput({ id, part, describedby, onchange }) {
  return fileControl({ id, accept: part.contentMediaType, raw: part.contentEncoding === "base64" && !part.format, describedby, onchange });
}

function jsonInput({ id, describedby, onchange }) {
  const target = h("textarea", { id, rows: 4, spellcheck: "false", class: "code", "aria-describedby": describedby, oninput: onchange });
  return {
    element: target, target,
    read() {
      if (target.value.trim() === "") return undefined;
      try { return JSON.parse(target.value); } catch { return target.value; } // free text where any JSON will do
    },
    write: (value) => { target.value = value === undefined ? "" : JSON.stringify(value, null, 2); },
  };
}
