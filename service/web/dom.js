// Elements from plain values. Data only ever becomes text: there is no innerHTML in this dashboard.

const SVG = "http://www.w3.org/2000/svg";

/** h("a", {href, class, on: {click}}, "text", node, [nodes]) makes an HTML element; null and false are left out. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** The children of `node` become these, and nothing happens where they already are. */
export function show(node, ...children) {
  const wanted = children.flat(3).filter((child) => child != null && child !== false);
  node.replaceChildren(...wanted);
  return node;
}

/** Sets the text only where it differs, so that a screen reader is not told the same again. */
export function say(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
  return node;
}

/** One row a key, in the order given: rows that stay keep their focus and their listeners. */
export function keyed(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstChild;
  for (const item of items) {
    let row = old.get(key(item));
    if (!row) {
      row = make(item);
      row.dataset.key = key(item);
    }
    old.delete(key(item));
    update(row, item);
    if (row === at) at = at.nextSibling;
    else parent.insertBefore(row, at);
  }
  for (const row of old.values()) row.remove();
}

/** Calls `task` at most once in `ms`, never twice at the same time, and once more if it was asked for meanwhile. */
export function calm(task, ms) {
  let timer = null,
    running = false,
    again = false;
  async function run() {
    timer = null;
    running = true;
    try {
      await task();
    } finally {
      running = false;
      if (again) soon();
    }
  }
  function soon(wait = ms) {
    again = running;
    if (!running && timer === null) timer = setTimeout(run, wait);
  }
  soon.stop = () => clearTimeout(timer);
  return soon;
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value == null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(3)) if (child != null && child !== false) node.append(child);
  return node;
}
