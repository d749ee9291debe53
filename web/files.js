// One file as a value: dropped, chosen, pasted, photographed, or written as a link.
import { fill, h, say, uid } from "./dom.js";
import { bytes } from "./words.js";

/** Bytes as base64 without a detour through a huge argument list. */
export function toBase64(buffer) {
  const all = new Uint8Array(buffer);
  let text = "";
  for (let start = 0; start < all.length; start += 0x8000) text += String.fromCharCode(...all.subarray(start, start + 0x8000));
  return btoa(text);
}

/** {type, blob} of a `data:` URI with base64; null where it is none. */
export function fromDataUri(text) {
  const match = /^data:([^;,]*)(?:;[^,]*)?;base64,([A-Za-z0-9+/=\s]*)$/.exec(text);
  if (!match) return null;
  try {
    const raw = atob(match[2]);
    return { type: match[1], blob: new Blob([Uint8Array.from(raw, (one) => one.charCodeAt(0))], { type: match[1] }) };
  } catch {
    return null;
  }
}

/** A picture, sound or film of a blob, or its name and size. The URL is given back when the element is gone. */
export function preview(blob, type, name = "") {
  const family = type.split("/")[0];
  if (!["image", "audio", "video"].includes(family)) return h("p", {}, `${name || type || "File"}, ${bytes(blob.size)}`);
  const url = URL.createObjectURL(blob);
  const done = () => URL.revokeObjectURL(url);
  if (family === "image") return h("img", { src: url, alt: name ? `Preview of ${name}` : "Picture", onload: done, onerror: done });
  return h(family, { src: url, controls: true, "aria-label": name || type });
}

/**
 * A control for one file. `asked`: {accept, raw}: `accept` a media type or pattern, `raw`: base64 alone instead of a
 * `data:` URI. Returns {element, target, read, write, file}: `file()` is {name, type} of what was chosen, for snippets.
 */
export function fileControl({ id, accept, raw, describedby, onchange }) {
  let value, chosen = null;
  const shown = h("div", { class: "preview" });
  const picker = h("input", { type: "file", id, accept, "aria-describedby": describedby, class: "visually-hidden" });
  const link = h("input", { type: "text", id: `${id}-link`, inputmode: "url", autocomplete: "off", spellcheck: "false" });
  const clear = h("button", { type: "button", class: "quiet", hidden: true }, "Remove");
  const pick = h("label", { for: id, class: "button" }, "Choose a file");
  const zone = h("div", { class: "drop" },
    h("p", { class: "drop-words" }, "Drop it here, paste it, or"),
    h("div", { class: "row" }, pick, cameraButton(accept, take), clear),
    picker, shown,
    h("details", {}, h("summary", {}, "or give a link or data URI"),
      h("label", { for: link.id }, "Link or data URI"), link));

  async function take(blob, name) {
    const type = blob.type || "application/octet-stream";
    const text = toBase64(await blob.arrayBuffer());
    value = raw ? text : `data:${type};base64,${text}`;
    chosen = { name, type };
    show(blob, type, `${name}, ${bytes(blob.size)}`, name);
    say(`${name} chosen, ${bytes(blob.size)}`);
    onchange?.();
  }
  function show(blob, type, caption, name) {
    fill(shown, preview(blob, type, name), h("p", { class: "hint" }, caption));
    clear.hidden = false;
  }
  function empty() {
    value = undefined;
    chosen = null;
    picker.value = "";
    link.value = "";
    clear.hidden = true;
    fill(shown);
  }
  const first = (list) => { if (list?.[0]) take(list[0], list[0].name || "pasted file"); };

  picker.addEventListener("change", () => first(picker.files));
  clear.addEventListener("click", () => { empty(); picker.focus(); onchange?.(); });
  link.addEventListener("input", () => { const text = link.value.trim(); write(text || undefined, null, link.value); onchange?.(); });
  zone.addEventListener("paste", (event) => { if (event.clipboardData?.files.length) { event.preventDefault(); first(event.clipboardData.files); } });
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); zone.classList.remove("over"); first(event.dataTransfer?.files); });

  function write(text, from = null, typed = null) {
    empty();
    if (text === undefined) return;
    value = text;
    chosen = from;
    const found = fromDataUri(text);
    if (found) show(found.blob, found.type, `${from?.name ?? found.type}, ${bytes(found.blob.size)}`, from?.name ?? "");
    else { fill(shown, h("p", { class: "hint" }, text.slice(0, 120))); clear.hidden = false; }
    if (typed !== null) link.value = typed;
  }
  return { element: zone, target: picker, read: () => value, write, take, file: () => chosen };
}

function cameraButton(accept, take) {
  if (!/^image\//.test(accept ?? "")) return null;
  if (navigator.mediaDevices?.getUserMedia) return h("button", { type: "button", class: "quiet", onclick: () => photograph(take) }, "Camera");
  // Without HTTPS pages may not open a camera, but a phone's own camera app can still take the picture.
  if (!matchMedia("(pointer: coarse)").matches) return null;
  const id = uid("camera");
  const input = h("input", { type: "file", id, accept: "image/*", capture: "environment", class: "visually-hidden" });
  input.addEventListener("change", () => { if (input.files[0]) take(input.files[0], input.files[0].name); });
  return h("span", {}, h("label", { for: id, class: "button quiet" }, "Camera"), input);
}

async function photograph(take) {
  const video = h("video", { autoplay: true, playsinline: true, "aria-label": "What the camera sees" });
  const shoot = h("button", { type: "button" }, "Take the picture");
  const problem = h("p", { class: "error", role: "alert" });
  const dialog = h("dialog", { "aria-label": "Camera" }, video, problem,
    h("div", { class: "row" }, shoot, h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel")));
  let stream = null;
  dialog.addEventListener("close", () => { stream?.getTracks().forEach((track) => track.stop()); dialog.remove(); });
  document.body.append(dialog);
  dialog.showModal();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    video.srcObject = stream;
    if (!dialog.open) stream.getTracks().forEach((track) => track.stop());
  } catch (error) {
    problem.textContent = `The camera cannot be used: ${error.message}. Choose a file instead.`;
    shoot.hidden = true;
  }
  shoot.addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => { dialog.close(); if (blob) take(blob, "photo.jpg"); }, "image/jpeg", 0.92);
  });
}
