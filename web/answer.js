// Shows an answer by its type: picture, sound, film, events as they come, JSON, text, or a file to save. An answer is
// data: nothing of it is ever run or read as HTML.
import { copyButton, fill, h, uid } from "./dom.js";
import { fromDataUri, preview } from "./files.js";
import { bytes } from "./words.js";

const MAX_TEXT = 200_000; // characters shown at once; more makes the page slow, and is still saved whole
const MAX_ROWS = 200;

export const mediaType = (contentType) => (contentType ?? "").split(";")[0].trim().toLowerCase();
const textual = (type) => type.startsWith("text/") || /[/+](json|xml|yaml|x-ndjson)$/.test(type) || type === "application/javascript";

/**
 * A place for one answer. `add(chunk)` takes bytes as they come, `end()` shows the whole. `schema`: of the answer, or
 * null. `picture`: data URI of what was sent, to draw boxes on, or null.
 */
export function answerView(element, contentType, { schema = null, picture = null } = {}) {
  const type = mediaType(contentType);
  const parts = [];
  const decoder = new TextDecoder();
  let text = "", live = null;
  if (type === "text/event-stream") live = events(element);
  else if (type.startsWith("text/") || type.includes("ndjson")) live = plainText(element);
  return {
    add(chunk) {
      parts.push(chunk);
      if (!live) return;
      const piece = decoder.decode(chunk, { stream: true });
      text += piece;
      live.add(piece);
    },
    /** Returns the size in bytes. */
    end() {
      const blob = new Blob(parts, { type });
      if (live) live.end(); else show(element, parts, blob, type, schema, picture);
      if (blob.size) element.append(saveLine(blob, type, () => text));
      else fill(element, h("p", { class: "hint" }, "The answer has no body."));
      return blob.size;
    },
  };
}

function show(element, parts, blob, type, schema, picture) {
  if (/^(image|audio|video)\//.test(type)) { fill(element, preview(blob, type)); return; }
  if (!textual(type) && type) { fill(element, h("p", {}, `A file of type ${type}.`)); return; }
  blob.text().then((text) => {
    let value;
    try { value = JSON.parse(text); } catch { element.prepend(block(text)); return; }
    element.prepend(...json(value, schema, picture));
  });
}

const block = (text) => h("pre", { class: "text", tabindex: "0" }, text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}\n…` : text);

/** The parts of a JSON answer: what people want of it first, then the whole as a tree. */
function json(value, schema, picture) {
  const found = [];
  const boxes = picture ? boxesOf(value) : [];
  if (boxes.length) found.push(drawn(picture, value, boxes));
  const main = mainText(value, schema);
  if (main !== null) found.push(h("div", { class: "main-text" }, h("div", { class: "row end" }, copyButton(() => main, "Copy text")), block(main)));
  for (const medium of media(value)) found.push(preview(medium.blob, medium.type));
  const tree = h("details", { class: "tree" }, h("summary", {}, "JSON"), branch(value));
  tree.open = found.length === 0;
  found.push(tree);
  return found;
}

/** The text that an answer is about: itself, or its only or best named field. */
function mainText(value, schema) {
  if (typeof value === "string" && !value.startsWith("data:")) return value;
  if (Array.isArray(value)) {
    const concatenated = schema?.["x-cog-array-display"] === "concatenate";
    return concatenated && value.every((one) => typeof one === "string") ? value.join("") : null;
  }
  if (value === null || typeof value !== "object") return null;
  const chat = value.choices?.[0];
  const found = chat?.message?.content ?? chat?.text ?? value.text ?? value.output ?? value.generated_text ?? value.transcription;
  return typeof found === "string" && !found.startsWith("data:") ? found : null;
}

/** Pictures, sounds and films inside a JSON answer, as data URIs. */
function media(value, found = [], depth = 0) {
  if (found.length >= 12 || depth > 6) return found;
  if (typeof value === "string" && value.startsWith("data:")) {
    const medium = fromDataUri(value);
    if (medium && /^(image|audio|video)\//.test(medium.type)) found.push(medium);
  } else if (value && typeof value === "object") for (const one of Object.values(value)) media(one, found, depth + 1);
  return found;
}

/** [{box, text}]: entries with a polygon of at least three corners, in pixels of the picture that was sent. */
function boxesOf(value) {
  const entries = Object.values(value ?? {}).find((one) => Array.isArray(one) && one[0]?.box); // what a model says may have holes
  const polygon = (box) => Array.isArray(box) && box.length >= 3 && box.every((corner) => Array.isArray(corner) && corner.length === 2 && corner.every(Number.isFinite));
  return (entries ?? []).filter((one) => polygon(one?.box)).slice(0, MAX_ROWS);
}

function drawn(picture, value, boxes) {
  const canvas = h("canvas", { role: "img", "aria-label": `The picture with ${boxes.length} found places marked` });
  const found = fromDataUri(picture);
  if (!found) return h("span");
  createImageBitmap(found.blob).then((image) => {
    canvas.width = image.width;
    canvas.height = image.height;
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    const scale = [image.width / (value.width || image.width), image.height / (value.height || image.height)];
    pen.lineWidth = Math.max(2, image.width / 300);
    pen.strokeStyle = "#0a7d5a";
    pen.fillStyle = "rgb(10 125 90 / 12%)";
    for (const { box } of boxes) {
      pen.beginPath();
      for (const [x, y] of box) pen.lineTo(x * scale[0], y * scale[1]);
      pen.closePath();
      pen.fill();
      pen.stroke();
    }
  }, () => canvas.remove());
  return canvas;
}

/** A value as a tree that opens. Rows are made when a branch is opened. */
function branch(value, name = null) {
  const label = name === null ? null : h("span", { class: "key" }, `${name}: `);
  if (value === null || typeof value !== "object") {
    const text = typeof value === "string" && value.length > 300 ? `${JSON.stringify(value.slice(0, 300))}… ${bytes(value.length)}` : JSON.stringify(value);
    return h("div", { class: "leaf" }, label, h("span", { class: typeof value }, text));
  }
  const entries = Array.isArray(value) ? value.map((one, index) => [index, one]) : Object.entries(value);
  const flat = JSON.stringify(value);
  if (flat.length < 60) return h("div", { class: "leaf" }, label, flat);
  const count = Array.isArray(value) ? `[ ${entries.length} ]` : `{ ${entries.length} }`;
  const rows = h("div", { class: "rows" });
  const details = h("details", {}, h("summary", {}, label, count), rows);
  const build = () => {
    if (!details.open || rows.childElementCount) return;
    rows.append(...entries.slice(0, MAX_ROWS).map(([key, one]) => branch(one, key)));
    if (entries.length > MAX_ROWS) rows.append(h("p", { class: "hint" }, `${entries.length - MAX_ROWS} more: save the answer to see them`));
  };
  details.addEventListener("toggle", build);
  details.open = name === null || entries.length <= 12;
  build();
  return details;
}

function plainText(element) {
  const pre = block("");
  fill(element, pre);
  let size = 0;
  return {
    add(piece) { size += piece.length; if (size <= MAX_TEXT) pre.append(piece); },
    end() { if (size > MAX_TEXT) pre.append("\n…"); },
  };
}

/** Server-sent events: their text put together as it comes, and each event in a list below. */
function events(element) {
  const text = h("pre", { class: "text", tabindex: "0", hidden: true });
  const list = h("ol", { class: "events" });
  const all = h("details", {}, h("summary", {}, "Events"), list);
  const problem = h("p", { class: "error" });
  fill(element, text, problem, all);
  let rest = "", count = 0, together = false;
  all.open = true;
  function one(raw) {
    const data = [], head = {};
    for (const line of raw.split(/\r\n|\r|\n/)) {
      const match = /^(data|event|id): ?(.*)$/.exec(line);
      if (match?.[1] === "data") data.push(match[2]); else if (match) head[match[1]] = match[2];
    }
    if (!data.length) return; // a keep-alive comment
    const body = data.join("\n");
    if (++count <= MAX_ROWS) list.append(h("li", {}, head.event ? h("span", { class: "key" }, `${head.event}: `) : null, body.slice(0, 1000)));
    if (head.event === "error") problem.textContent = `The answer broke off: ${errorText(body)}`;
    const piece = pieceOf(body);
    if (piece === null) return;
    if (!together) { together = true; text.hidden = false; all.open = false; }
    text.append(piece);
  }
  return {
    add(piece) {
      rest += piece;
      const found = rest.split(/\r\n\r\n|\n\n|\r\r/);
      rest = found.pop();
      found.forEach(one);
    },
    end() { if (rest.trim()) one(rest); all.firstChild.textContent = `Events (${count})`; },
  };
}

/** The text that one event adds, as chat and text servers send it; null where it adds none. */
export function pieceOf(body) {
  if (body === "[DONE]") return null;
  let value;
  try { value = JSON.parse(body); } catch { return null; }
  const found = typeof value === "string" ? value
    : value?.choices?.[0]?.delta?.content ?? value?.choices?.[0]?.text ?? value?.token?.text ?? value?.text ?? value?.output ?? value?.data;
  return typeof found === "string" ? found : null;
}

function errorText(body) {
  try { const found = JSON.parse(body); return [found.detail ?? found.title ?? body, found.remedy].filter(Boolean).join(" "); } catch { return body; }
}

const ENDINGS = { "application/json": "json", "text/plain": "txt", "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "video/mp4": "mp4", "text/event-stream": "txt" };

function saveLine(blob, type) {
  const button = h("button", { type: "button", class: "quiet", id: uid("save") }, `Save (${bytes(blob.size)})`);
  button.addEventListener("click", () => {
    const url = URL.createObjectURL(blob);
    h("a", { href: url, download: `answer.${ENDINGS[type] ?? type.split("/")[1]?.split("+").pop() ?? "bin"}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  });
  const row = h("div", { class: "row" }, button);
  if (textual(type)) {
    const holder = h("span");
    blob.text().then((whole) => holder.append(copyButton(() => whole, "Copy all")));
    row.append(holder);
  }
  return row;
}
