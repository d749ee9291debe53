// Pure: the Python that declares an endpoint, to paste into `declare(platform)` of the stack code.
import { pythonValue } from "./snippets.js";

/** The lines, as the formatter writes them. `args` holds what differs from the defaults. */
export function declaration(name, args) {
  const lines = ["holdfast.Endpoint(", `    ${JSON.stringify(name)},`, "    {", '        "platform": platform,'];
  for (const [field, value] of Object.entries(args)) {
    lines.push(...`${JSON.stringify(field)}: ${pythonValue(value, [], 0)},`.split("\n").map((line) => `        ${line}`));
  }
  lines.push("    },", ")");
  return lines.join("\n");
}
