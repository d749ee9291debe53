// Pure: the call that the form makes, as curl, Python and JavaScript. A file stands in them by its name. Tested by
// running all three against a gateway.

/**
 * `call`: {url, base, name, method, route, contentType, body, files, private, mode}. `body`: what is sent: data for
 * JSON, text for text, null for none; `files`: [[path, {name, type}]] of data URIs or base64 in it, or of the body itself
 * (path []). `mode`: whole, stream or background.
 */
export const snippets = (call) => ({ curl: curl(call), python: python(call), javascript: javascript(call) });

const MARK = "\u0000";

/** The body with a mark where each file goes: [value, [{name, type, prefix}]]. */
function marked(call) {
  const files = [];
  const value = structuredClone(call.body ?? null);
  for (const [path, file] of call.files ?? []) {
    if (!path.length) continue;
    let parent = value;
    for (const part of path.slice(0, -1)) parent = parent?.[part];
    const last = path.at(-1);
    if (typeof parent?.[last] !== "string") continue;
    const uri = parent[last].startsWith("data:");
    parent[last] = `${MARK}${files.length}${MARK}`;
    files.push({ ...file, prefix: uri ? `data:${file.type};base64,` : "", uri });
  }
  return [value, files];
}

const bodyFile = (call) => (call.files ?? []).find(([path]) => !path.length)?.[1] ?? null;
/** The parts of a form: [{name, file} or {name, text}]; null where the body is none. */
function formParts(call) {
  if (call.contentType !== "multipart/form-data") return null;
  return Object.entries(call.body ?? {}).filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => {
    const file = (call.files ?? []).find(([path]) => path.length === 1 && path[0] === name)?.[1];
    return file ? { name, file } : { name, text: typeof value === "object" ? JSON.stringify(value) : String(value) };
  });
}

const isJson = (call) => /[/+]json\b/.test(call.contentType ?? "");
const shell = (text) => `'${String(text).replaceAll("'", `'\\''`)}'`;

function curl(call) {
  const lines = [`curl -sS${call.mode === "stream" ? "N" : ""} ${shell(call.url)}`];
  if (call.method !== "POST" || call.body === null) lines.push(`  -X ${call.method}`);
  if (call.private) lines.push('  -H "Authorization: Bearer $HOLDFAST_TOKEN"');
  const parts = formParts(call);
  if (call.body !== null && call.contentType && !parts) lines.push(`  -H ${shell(`content-type: ${call.contentType}`)}`);
  if (call.mode === "background") lines.push("  -H 'prefer: respond-async'");
  const [value, files] = marked(call);
  let before = "";
  if (parts) {
    for (const part of parts) lines.push(part.file ? `  -F ${shell(`${part.name}=@"${part.file.name.replaceAll(/["\\]/g, "\\$&")}";type=${part.file.type}`)}` : `  --form-string ${shell(`${part.name}=${part.text}`)}`);
  } else if (bodyFile(call)) lines.push(`  --data-binary @${shell(bodyFile(call).name)}`);
  else if (files.length) {
    // printf builds the body: a command line is too short for a file.
    const format = JSON.stringify(value).replaceAll("\\", "\\\\").replaceAll("%", "%%").replaceAll("'", `'\\''`)
      .replaceAll(/\\\\u0000(\d+)\\\\u0000/g, (_, index) => `${files[index].prefix}%s`);
    const parts = files.map((file) => `"$(base64 < ${shell(file.name)} | tr -d '\\n')"`);
    before = `printf '${format}' \\\n  ${parts.join(" \\\n  ")} |\n`;
    lines.push("  --data-binary @-");
  } else if (call.body !== null) lines.push(`  --data-raw ${shell(isJson(call) ? JSON.stringify(value) : call.body)}`);
  const command = before + lines.join(" \\\n");
  if (call.mode !== "background") return command;
  const requests = shell(`${call.base}/requests/`);
  const token = call.private ? ' -H "Authorization: Bearer $HOLDFAST_TOKEN"' : "";
  return [
    `accepted=$(${command})`,
    `id=$(printf %s "$accepted" | sed 's/.*"id": *"\\([^"]*\\)".*/\\1/')`,
    `until curl -sS ${requests}"$id?wait=20"${token} | grep -Eq '"(SUCCEEDED|FAILED|EXPIRED|CANCELED)"'; do :; done`,
    `curl -sS ${requests}"$id/result"${token}`,
  ].join("\n");
}

const KINDS = { image: "image", audio: "audio", video: "video" };
const pyText = (text) => JSON.stringify(text).replaceAll("\u007f", "\\u007f");

/** A value as Python writes it. */
export function pythonValue(value, files = [], depth = 0) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") {
    const match = /^\u0000(\d+)\u0000$/.exec(value);
    if (!match) return pyText(value);
    const file = files[match[1]];
    const medium = `holdfast_client.${KINDS[file.type.split("/")[0]] ?? "file"}(${pyText(file.name)})`;
    return file.uri ? medium : `${medium}.base64`;
  }
  if (typeof value !== "object") return String(value);
  const parts = Array.isArray(value)
    ? value.map((one) => pythonValue(one, files, depth + 1))
    : Object.entries(value).map(([key, one]) => `${pyText(key)}: ${pythonValue(one, files, depth + 1)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const line = `${open}${parts.join(", ")}${close}`;
  if (line.length + depth * 4 <= 88) return line;
  const indent = "    ".repeat(depth + 1);
  return `${open}\n${parts.map((part) => `${indent}${part},\n`).join("")}${"    ".repeat(depth)}${close}`;
}

function python(call) {
  const [value, files] = marked(call);
  const file = bodyFile(call);
  const args = [pyText(call.name)];
  const parts = formParts(call);
  if (parts) {
    const texts = Object.fromEntries(parts.filter((part) => !part.file).map((part) => [part.name, part.text]));
    if (Object.keys(texts).length) args.push(pythonValue(texts));
    const given = parts.filter((part) => part.file).map((part) => `${pyText(part.name)}: holdfast_client.${KINDS[part.file.type.split("/")[0]] ?? "file"}(${pyText(part.file.name)})`);
    if (given.length) args.push(`files={${given.join(", ")}}`);
  } else if (file) args.push(`holdfast_client.${KINDS[file.type.split("/")[0]] ?? "file"}(${pyText(file.name)})`);
  else if (call.body !== null) args.push(isJson(call) ? pythonValue(value, files) : `${pyText(call.body)}.encode()`);
  if (call.route !== "/") args.push(`route=${pyText(call.route)}`);
  if (call.method !== "POST") args.push(`method=${pyText(call.method)}`);
  if (call.body !== null && !isJson(call) && !file && !parts && call.contentType) args.push(`headers={"content-type": ${pyText(call.contentType)}}`);
  const head = `import holdfast_client\n\nclient = holdfast_client.Client(${pyText(call.base)})${call.private ? "  # token: HOLDFAST_TOKEN" : ""}\n`;
  const given = args.join(", ");
  if (call.mode === "stream") return `${head}with client.stream(${given}) as stream:\n    for part in stream.iter_bytes():\n        print(part.decode(errors="replace"), end="", flush=True)`;
  if (call.mode === "background") return `${head}job = client.submit(${given})\nprint(job.id)\nprint(job.result().text)`;
  return `${head}answer = client.infer(${given})\nprint(answer.text)`;
}

function javascript(call) {
  const [value, files] = marked(call);
  const file = bodyFile(call);
  const text = JSON.stringify(value, null, 2).replaceAll(/"\\u0000(\d+)\\u0000"/g, (_, index) =>
    files[index].uri ? `await file(${JSON.stringify(files[index].name)}, ${JSON.stringify(files[index].type)})` : `await file(${JSON.stringify(files[index].name)})`);
  const lines = [];
  if ((files.length || file) && !formParts(call)) lines.push('import { readFile } from "node:fs/promises";');
  if (files.length && !formParts(call)) {
    lines.push("const file = async (name, type) => {",
      '  const text = (await readFile(name)).toString("base64");',
      "  return type ? `data:${type};base64,${text}` : text;", "};");
  }
  const parts = formParts(call);
  if (parts) {
    if (parts.some((part) => part.file)) lines.push('import { readFile } from "node:fs/promises";');
    lines.push("const form = new FormData();");
    for (const part of parts) {
      lines.push(part.file ? `form.append(${JSON.stringify(part.name)}, new Blob([await readFile(${JSON.stringify(part.file.name)})], { type: ${JSON.stringify(part.file.type)} }), ${JSON.stringify(part.file.name)});`
        : `form.append(${JSON.stringify(part.name)}, ${JSON.stringify(part.text)});`);
    }
  }
  const headers = [];
  if (call.private) headers.push("    authorization: `Bearer ${process.env.HOLDFAST_TOKEN}`,");
  if (call.body !== null && call.contentType && !parts) headers.push(`    "content-type": ${JSON.stringify(call.contentType)},`);
  if (call.mode === "background") headers.push('    prefer: "respond-async",');
  lines.push(`const response = await fetch(${JSON.stringify(call.url)}, {`, `  method: ${JSON.stringify(call.method)},`);
  if (headers.length) lines.push("  headers: {", ...headers, "  },");
  if (parts) lines.push("  body: form,");
  else if (file) lines.push(`  body: await readFile(${JSON.stringify(file.name)}),`);
  else if (call.body !== null) lines.push(isJson(call) ? `  body: JSON.stringify(${text.replaceAll("\n", "\n  ")}),` : `  body: ${JSON.stringify(call.body)},`);
  lines.push("});", "if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);");
  if (call.mode === "stream") lines.push("const decoder = new TextDecoder();", "for await (const part of response.body) process.stdout.write(decoder.decode(part, { stream: true }));");
  else if (call.mode === "background") {
    lines.push("const { id } = await response.json();", `const request = \`${call.base}/requests/\${id}\`;`,
      `const options = {${call.private ? " headers: { authorization: `Bearer ${process.env.HOLDFAST_TOKEN}` } " : ""}};`,
      "let state;", "do state = (await (await fetch(`${request}?wait=20`, options)).json()).status;",
      'while (state === "QUEUED" || state === "RUNNING");', "console.log(await (await fetch(`${request}/result`, options)).text());");
  } else lines.push("console.log(await response.text());");
  return lines.join("\n");
}
