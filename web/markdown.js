// Model cards: the part of Markdown that they use, as elements. Nothing becomes HTML by itself.
import { h } from "./dom.js";

/** Elements of a text: headings (from `level` down), paragraphs, lists, tables, code. */
export function markdown(text, level = 2) {
  const lines = text.split(/\r?\n/), out = [];
  for (let at = 0; at < lines.length;) {
    const line = lines[at];
    if (line.startsWith("```")) {
      const end = lines.findIndex((one, index) => index > at && one.startsWith("```"));
      const last = end < 0 ? lines.length : end;
      out.push(h("pre", { class: "code", tabindex: "0" }, lines.slice(at + 1, last).join("\n")));
      at = last + 1;
    } else if (/^#{1,6} /.test(line)) {
      const depth = /^#+/.exec(line)[0].length;
      out.push(h(`h${Math.min(6, depth + level - 1)}`, {}, inline(line.replace(/^#+ /, ""))));
      at += 1;
    } else if (/^\|/.test(line)) {
      const rows = take(/^\|/);
      out.push(table(rows));
    } else if (/^[-*] /.test(line)) {
      out.push(h("ul", {}, take(/^([-*] | {2})/).map((one) => h("li", {}, inline(one.replace(/^[-*] /, ""))))));
    } else if (line.trim() === "") at += 1;
    else out.push(h("p", {}, inline(take(/^(?!#{1,6} |\||[-*] |```)\S/).join(" "))));
    function take(pattern) {
      const from = at;
      do at += 1; while (at < lines.length && pattern.test(lines[at]));
      return lines.slice(from, at);
    }
  }
  return out;
}

function table(rows) {
  const cells = (row) => row.replace(/^\||\|\s*$/g, "").split(/(?<!\\)\|/).map((cell) => inline(cell.trim()));
  const hasHead = /^[\s|:-]+$/.test(rows[1] ?? "");
  const head = hasHead && cells(rows[0]).some((cell) => cell.length) ? h("thead", {}, h("tr", {}, cells(rows[0]).map((cell) => h(cell.length ? "th" : "td", {}, cell)))) : null;
  return h("div", { class: "scroll", tabindex: "0" }, h("table", {}, head, h("tbody", {}, rows.slice(hasHead ? 2 : 0).map((row) => h("tr", {}, cells(row).map((cell) => h("td", {}, cell)))))));
}

function inline(text) {
  const parts = [];
  for (const piece of text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)\s]+\))/)) {
    const link = /^\[([^\]]+)\]\(([^)\s]+)\)$/.exec(piece);
    if (piece.startsWith("`") && piece.length > 2) parts.push(h("code", {}, piece.slice(1, -1)));
    else if (piece.startsWith("**") && piece.length > 4) parts.push(h("strong", {}, piece.slice(2, -2)));
    else if (link && /^https?:\/\//.test(link[2])) parts.push(h("a", { href: link[2], rel: "noopener noreferrer", target: "_blank" }, link[1]));
    else if (link) parts.push(link[1]);
    else if (piece) parts.push(piece);
  }
  return parts;
}
