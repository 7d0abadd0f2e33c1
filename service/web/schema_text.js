// JSON schemas in a few words, and an example for each. Pure.

export function typeOf(schema) {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const options = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (options) return options.map(typeOf).join(" | ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  return [schema.type ?? "any", limits(schema)].filter(Boolean).join(" ");
}

function limits(schema) {
  const low = schema.minimum ?? schema.exclusiveMinimum,
    high = schema.maximum ?? schema.exclusiveMaximum;
  if (low !== undefined && high !== undefined) return `${low} to ${high}`;
  if (low !== undefined) return schema.minimum === undefined ? `above ${low}` : `at least ${low}`;
  if (high !== undefined) return `at most ${high}`;
  if (schema.pattern) return `like ${schema.pattern}`;
  return schema.format ?? "";
}

const DEEP = 4;

export function exampleOf(schema, doc, depth = 0) {
  if (!schema || depth > DEEP) return null;
  if (schema.$ref) return exampleOf(doc.components.schemas[schema.$ref.split("/").at(-1)], doc, depth + 1);
  if (schema.default !== undefined) return schema.default;
  if (schema.examples) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const options = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (options) return exampleOf(options[0], doc, depth + 1);
  if (schema.type === "object") {
    return Object.fromEntries(
      Object.entries(schema.properties ?? {}).map(([name, one]) => [name, exampleOf(one, doc, depth + 1)]),
    );
  }
  return { array: [], string: "text", integer: 1, number: 1.0, boolean: true }[schema.type] ?? null;
}
