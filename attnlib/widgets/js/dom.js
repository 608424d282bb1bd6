// Elements: made once, then written to, and touched only where something differs.

const NAMESPACE = "http://www.w3.org/2000/svg";
const copy = Math.random().toString(36).slice(2, 8);
let serial = 0;

/** An id for labels, unique on the page even among several copies of this module. */
export function uid() {
  serial += 1;
  return `attnlib-${copy}-${serial}`;
}

/** Write attributes (false and null remove, `text` is the content), touching only what differs. */
export function write(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") {
      if (node.textContent !== String(value)) node.textContent = value;
    } else if (value === false || value === null || value === undefined) {
      if (node.hasAttribute(name)) node.removeAttribute(name);
    } else {
      const text =
        value === true ? "" : typeof value === "number" ? String(Math.round(value * 1000) / 1000) : String(value);
      if (node.getAttribute(name) !== text) node.setAttribute(name, text);
    }
  }
  return node;
}

export function html(tag, attributes = {}, ...children) {
  const node = write(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = write(document.createElementNS(NAMESPACE, tag), attributes);
  node.append(...children);
  return node;
}

/** Keep as many children of `parent` as asked: `pool(parent, make)(n)` makes or removes at the end and returns all n. */
export function pool(parent, make) {
  const items = [];
  return (count) => {
    while (items.length > count) items.pop().node.remove();
    while (items.length < count) {
      const item = make(items.length);
      items.push(item);
      parent.append(item.node);
    }
    return items;
  };
}
