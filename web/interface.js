// Pure: what an OpenAPI document says of a container's routes, as the form wants it. Tested without a page.

/** Routes that take JSON or a form, as templates: [{title, input_path, input_encoding, input_schema, output_schema, examples}]. */
export function routes(root) {
  const found = [];
  for (const [path, item] of Object.entries(root?.paths ?? {})) {
    const operation = item?.post;
    if (!operation || path.includes("{")) continue;
    const body = follow(operation.requestBody, root)?.content ?? {};
    const [type, encoding] = body["application/json"]?.schema ? ["application/json", "json"] : body["multipart/form-data"]?.schema ? ["multipart/form-data", "multipart"] : [null, null];
    if (!type) continue;
    const answered = follow(operation.responses?.["200"], root)?.content?.["application/json"]?.schema;
    found.push({
      title: `${path}${operation.summary ? `: ${operation.summary}` : ""}`,
      input_path: path,
      input_encoding: encoding,
      input_schema: within(body[type].schema, root),
      output_schema: answered ? within(answered, root) : null,
      examples: [],
    });
  }
  return found;
}

const METHODS = ["get", "head", "post", "put", "patch", "delete", "options"];

/**
 * All operations by tag, in the document's order, those without a tag last: [{title, description, operations}] with
 * {path, method, one, shared} each. A document without tags is one group without a title.
 */
export function groups(root) {
  const operations = Object.entries(root.paths ?? {}).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, one: item[method], shared: item.parameters })));
  const tagsOf = ({ one }) => (one.tags?.some(Boolean) ? one.tags.filter(Boolean) : [""]);
  const described = new Map((root.tags ?? []).map((tag) => [tag.name, tag.description]));
  const tags = [...new Set([...described.keys(), ...operations.flatMap(tagsOf)])].filter(Boolean);
  return [...tags, ""]
    .map((tag) => ({
      title: tag ? tag[0].toUpperCase() + tag.slice(1) : tags.length ? "Other" : "",
      description: described.get(tag),
      operations: operations.filter((one) => tagsOf(one).includes(tag)),
    }))
    .filter((group) => group.operations.length);
}

/** The schema as a document of its own, in which references into the whole still lead somewhere. */
const within = (schema, root) => ({ ...schema, components: root.components ?? {} });

function follow(part, root) {
  if (typeof part?.$ref !== "string" || !part.$ref.startsWith("#/")) return part;
  return part.$ref.slice(2).split("/").reduce((value, name) => value?.[name.replaceAll("~1", "/").replaceAll("~0", "~")], root);
}
