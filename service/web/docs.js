// The API's reference, made from /openapi.json in the browser: every address, its parameters, bodies and answers.

import { get } from "./api.js";
import { h } from "./dom.js";
import { command, failure } from "./parts.js";
import { exampleOf, typeOf } from "./schema_text.js";
import { followTheme } from "./theme.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const app = document.getElementById("app");

followTheme();
try {
  app.replaceChildren(...page(await get("openapi.json")));
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
} catch (error) {
  app.replaceChildren(failure(error));
}

function page(doc) {
  const groups = byTag(doc);
  const search = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter the addresses" });
  const nav = h(
    "nav",
    { "aria-label": "Addresses" },
    search,
    [...groups].map(([tag, operations]) => [h("h2", {}, tag), h("ul", {}, operations.map(link))]),
  );
  const main = h(
    "main",
    {},
    intro(doc),
    [...groups].map(([tag, operations]) =>
      h(
        "section",
        { "aria-label": tag },
        h("h2", { class: "section" }, tag),
        operations.map((one) => operation(one, doc)),
      ),
    ),
    schemas(doc),
  );
  search.addEventListener("input", () => {
    for (const item of nav.querySelectorAll("li"))
      item.hidden = !item.textContent.toLowerCase().includes(search.value.toLowerCase());
  });
  const top = h(
    "header",
    { class: "top" },
    h("a", { class: "brand", href: "./" }, h("img", { src: "web/icon.svg", alt: "", width: 24, height: 24 }), "eegq"),
    h("span", { class: "spring" }),
    h("a", { href: "./" }, "Dashboard"),
    h("a", { href: "openapi.json" }, "openapi.json"),
  );
  return [top, h("div", { class: "docs" }, nav, main)];
}

function byTag(doc) {
  const groups = new Map();
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const method of METHODS.filter((one) => one in item)) {
      const tag = item[method].tags?.[0] ?? "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push({ path, method, ...item[method], id: `${method}-${path.replace(/\W+/g, "-")}` });
    }
  }
  return groups;
}

function link({ method, path, id }) {
  return h(
    "li",
    {},
    h("a", { href: `#${id}` }, h("span", { class: `method ${method}` }, method.toUpperCase()), h("code", {}, path)),
  );
}

function intro(doc) {
  return h(
    "div",
    { class: "intro" },
    h("h1", {}, "API"),
    doc.info.description.split("\n\n").map((text) => h("p", {}, text.replaceAll("`", ""))),
    command(`curl -H "Authorization: Bearer $EEGQ_KEY" ${new URL("jobs", document.baseURI).href}`),
  );
}

function operation(one, doc) {
  const body = one.requestBody?.content["application/json"]?.schema;
  const answers = Object.entries(one.responses).map(([code, answer]) => ({ code, ...answer }));
  return h(
    "article",
    { class: "card", id: one.id },
    h("h3", {}, h("span", { class: `method ${one.method}` }, one.method.toUpperCase()), " ", h("code", {}, one.path)),
    h("p", {}, (one.description ?? one.summary ?? "").replaceAll("`", "")),
    one.parameters?.length > 0 && parameters(`${one.method} ${one.path}`, one.parameters, doc),
    body &&
      h(
        "div",
        {},
        h("h4", {}, "Body"),
        h("p", {}, typeNode(body)),
        h(
          "pre",
          { class: "json", tabindex: 0, role: "region", "aria-label": `Example body of ${one.method} ${one.path}` },
          h("code", {}, JSON.stringify(exampleOf(body, doc), null, 2)),
        ),
      ),
    h("h4", {}, "Answers"),
    h(
      "ul",
      { class: "answers" },
      answers.map((answer) =>
        h("li", {}, h("strong", {}, answer.code), " ", answer.description, " ", contents(answer)),
      ),
    ),
  );
}

function parameters(name, list, doc) {
  const rows = list.map((one) =>
    h(
      "tr",
      {},
      h("td", {}, h("code", {}, one.name), one.required && h("span", { class: "sub" }, "required")),
      h("td", {}, one.in),
      h("td", {}, typeOf(one.schema, doc)),
      h("td", {}, (one.description ?? one.schema?.description ?? "").replaceAll("`", "")),
    ),
  );
  const head = ["Name", "In", "Type", "Meaning"].map((name) => h("th", { scope: "col" }, name));
  return h(
    "div",
    { class: "table-box", tabindex: 0, role: "region", "aria-label": `Parameters of ${name}` },
    h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)),
  );
}

function contents(answer) {
  return Object.entries(answer.content ?? {}).map(([type, { schema }]) => [
    h("span", { class: "quiet small" }, type, " "),
    schema && typeNode(schema),
    " ",
  ]);
}

function typeNode(schema) {
  const name = schema.$ref?.split("/").at(-1);
  return name ? h("a", { href: `#schema-${name}` }, name) : h("span", {}, typeOf(schema));
}

function schemas(doc) {
  const all = Object.entries(doc.components?.schemas ?? {});
  return h(
    "section",
    { "aria-label": "Schemas" },
    h("h2", { class: "section" }, "Schemas"),
    all.map(([name, schema]) =>
      h(
        "article",
        { class: "card", id: `schema-${name}` },
        h("h3", {}, name),
        schema.description && h("p", {}, schema.description.replaceAll("`", "")),
        schema.enum
          ? h(
              "p",
              {},
              schema.enum.map((value) => [h("code", {}, String(value)), " "]),
            )
          : properties(schema, doc),
      ),
    ),
  );
}

function properties(schema, doc) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([name, one]) =>
    h(
      "tr",
      {},
      h("td", {}, h("code", {}, name), required.has(name) && h("span", { class: "sub" }, "required")),
      h(
        "td",
        {},
        typeOf(one, doc),
        one.default !== undefined && h("span", { class: "sub" }, `default ${JSON.stringify(one.default)}`),
      ),
      h("td", {}, (one.description ?? "").replaceAll("`", "")),
    ),
  );
  return rows.length > 0 && h("table", {}, h("caption", { class: "hidden" }, "Fields"), h("tbody", {}, rows));
}
