// A DOM just large enough to run a widget's script without a browser and to serialise what it drew, as well-formed markup.
// Controls are disabled there: without the script they would do nothing.

const VOID = new Set(["br", "hr", "img", "input", "image"]);
const BREAK = new Set([
  "circle",
  "div",
  "g",
  "label",
  "line",
  "option",
  "p",
  "path",
  "rect",
  "svg",
  "table",
  "td",
  "text",
  "th",
  "tr",
]);
const escaped = (text) =>
  String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");

/** Whether an element fits one simple selector: tag, classes, attributes, and a `:not()` of such. */
function fits(node, selector) {
  const no = /:not\(([^)]*)\)/.exec(selector);
  if (no) return fits(node, selector.replace(no[0], "")) && !fits(node, no[1]);
  const [tag] = /^\w*/.exec(selector);
  const classes = [...selector.matchAll(/\.([\w-]+)/g)].map((found) => found[1]);
  const attributes = [...selector.matchAll(/\[([\w-]+)(?:=["']?([^\]"']*)["']?)?\]/g)];
  return (
    (!tag || node.tag === tag) &&
    classes.every((name) => (node.getAttribute("class") ?? "").split(" ").includes(name)) &&
    attributes.every(
      ([, name, value]) => node.hasAttribute(name) && (value === undefined || node.getAttribute(name) === value),
    )
  );
}

class Element {
  constructor(tag) {
    Object.assign(this, { tag, attributes: {}, children: [], parent: null, properties: {}, dataset: {}, text: null });
    const rules = {};
    this.rules = rules;
    this.style = new Proxy(
      { setProperty: (name, value) => (rules[name] = value) },
      {
        set: (_, name, value) => (
          (rules[name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)] = value),
          true
        ),
      },
    );
  }
  setAttribute(name, value) {
    this.attributes[name] = String(value);
  }
  getAttribute(name) {
    return this.attributes[name] ?? null;
  }
  hasAttribute(name) {
    return name in this.attributes;
  }
  removeAttribute(name) {
    delete this.attributes[name];
  }
  get textContent() {
    return this.text ?? this.children.map((child) => child.textContent ?? child).join("");
  }
  set textContent(value) {
    this.replaceChildren();
    this.text = String(value);
  }
  append(...nodes) {
    for (const node of nodes) {
      node.remove?.();
      this.children.push(node);
      if (node instanceof Element) node.parent = this;
    }
  }
  appendChild(node) {
    this.append(node);
    return node;
  }
  prepend(node) {
    this.append(node);
    this.children.unshift(this.children.pop());
  }
  replaceChildren(...nodes) {
    this.children = [];
    this.text = null;
    this.append(...nodes);
  }
  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this);
    this.parent = null;
  }
  get firstChild() {
    return this.children[0] ?? null;
  }
  get lastChild() {
    return this.children.at(-1) ?? null;
  }
  querySelector(selector) {
    return this.querySelectorAll(selector)[0] ?? null;
  }
  querySelectorAll(selector) {
    const inner = this.children.filter((child) => child instanceof Element);
    return inner.flatMap((child) => [...(fits(child, selector) ? [child] : []), ...child.querySelectorAll(selector)]);
  }
  closest(selector) {
    return fits(this, selector) ? this : (this.parent?.closest(selector) ?? null);
  }
  addEventListener() {}
  removeEventListener() {}
  focus() {}
  // Nothing has a place here: what a widget measures, it must be able to do without.
  get isConnected() {
    return false;
  }
  get clientWidth() {
    return 480;
  }
  get offsetWidth() {
    return 0;
  }
  get offsetHeight() {
    return 0;
  }
  get offsetLeft() {
    return 0;
  }
  get offsetTop() {
    return 0;
  }
  getBoundingClientRect() {
    return { left: 0, top: 0, width: 480, height: 480 };
  }

  // What a browser keeps beside the attributes.
  get value() {
    const middle = (Number(this.attributes.min ?? 0) + Number(this.attributes.max ?? 100)) / 2;
    return this.properties.value ?? (this.attributes.type === "range" ? String(middle) : (this.attributes.value ?? ""));
  }
  set value(value) {
    this.properties.value = String(value);
  }
  get checked() {
    return this.properties.checked ?? false;
  }
  set checked(value) {
    this.properties.checked = value;
  }
  get step() {
    return this.attributes.step;
  }
  get min() {
    return this.attributes.min;
  }
  get max() {
    return this.attributes.max;
  }

  get shown() {
    const all = { ...this.attributes };
    if (["input", "select", "button", "textarea"].includes(this.tag)) all.disabled = "";
    if (this.tag === "input" && this.attributes.type !== "checkbox") all.value = this.value;
    if (this.checked) all.checked = "";
    if (this.tag === "option" && this.parent?.properties.value === this.attributes.value) all.selected = "";
    if (all.role === "slider") Object.assign(all, { "aria-disabled": "true" });
    delete all.tabindex;
    const rules = Object.entries(this.rules)
      .map(([name, value]) => `${name}:${value}`)
      .join(";");
    if (rules) all.style = [all.style, rules].filter(Boolean).join(";");
    return all;
  }
  html() {
    const attributes = Object.entries(this.shown)
      .map(([name, value]) => ` ${name}="${escaped(value)}"`)
      .join("");
    const inner =
      this.text !== null
        ? escaped(this.text)
        : this.children.map((child) => (child instanceof Element ? child.html() : escaped(child))).join("");
    const end = BREAK.has(this.tag) ? "\n" : "";
    return (
      (VOID.has(this.tag) ? `<${this.tag}${attributes}/>` : `<${this.tag}${attributes}>${inner}</${this.tag}>`) + end
    );
  }
}

const nothing = { addEventListener() {}, removeEventListener() {}, matches: false };
const tasks = []; // what a widget leaves for when it stands in the page
class Observer {
  observe() {}
  disconnect() {}
}
const page = {
  createElement: (tag) => new Element(tag),
  createElementNS: (_, tag) => new Element(tag),
  documentElement: new Element("html"),
  body: new Element("body"),
  currentScript: null,
};
Object.assign(globalThis, {
  document: page,
  window: globalThis,
  matchMedia: () => nothing,
  devicePixelRatio: 1,
  getComputedStyle: () => ({ colorScheme: "light" }),
  requestAnimationFrame: (draw) => (draw(), 1),
  cancelAnimationFrame() {},
  setTimeout: () => 0,
  clearTimeout() {},
  queueMicrotask: (task) => tasks.push(task),
  MutationObserver: Observer,
  ResizeObserver: Observer,
});
Math.random = () => 0.5; // what `uid` begins with: the caller puts the real beginning in

/** What the script draws into a page that holds one widget of this stem in this state. */
export function drawn(script, stem, state) {
  const root = new Element("div");
  root.setAttribute("class", "attnlib-static");
  const held = root.appendChild(new Element("script"));
  held.setAttribute("type", "application/json");
  held.textContent = state;
  page.querySelectorAll = () => [root];
  // oxlint-disable-next-line no-eval -- the script is the book's own, and must see this page's globals
  (0, eval)(script);
  while (tasks.length) tasks.shift()();
  const [view] = root.children;
  const alert = view.querySelector("[role=alert]:not([hidden])");
  if (alert) throw new Error(`${stem}: ${alert.textContent}`);
  return view.children.map((child) => child.html()).join("");
}
