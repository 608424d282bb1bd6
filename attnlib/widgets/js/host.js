// The static host: what stands in for a kernel in a built page. It reads the state that lies beside the script,
// gives `render` the few methods of an anywidget model that it needs, and puts the live view where the static one was.

function makeModel(state) {
  const listeners = new Map();
  const heard = (event) => listeners.get(event) ?? [];
  return {
    get: (name) => state[name],
    set(name, value) {
      if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
      state[name] = value;
      for (const event of [`change:${name}`, "change"]) for (const listener of heard(event)) listener();
    },
    save_changes() {},
    on(event, listener) {
      listeners.set(event, [...heard(event), listener]);
    },
    off(event, listener) {
      listeners.set(
        event,
        heard(event).filter((other) => listener && other !== listener),
      );
    },
  };
}

/** Links to a widget: in a page that has an address, and not in a notebook that is open in JupyterLab. */
function linked(root, name) {
  if (!globalThis.location || document.body.hasAttribute("data-jp-theme-light")) return null;
  const place = [...document.querySelectorAll(`[data-attnlib="${name}"]`)].indexOf(root) + 1;
  const start = `w=${name}.${place}`;
  return {
    address: (pieces) => `${location.href.split("#")[0]}#${[start, ...pieces].join("&")}`,
    given() {
      const [head, ...pieces] = location.hash.slice(1).split("&");
      return head === start ? pieces : null;
    },
    listen: (heard) => addEventListener("hashchange", heard),
    /** The widget comes into sight and stays there while the page is still being set, until the reader does something. */
    show() {
      const watch = new ResizeObserver(() => root.scrollIntoView());
      const stop = () => watch.disconnect();
      for (const event of ["wheel", "touchstart", "pointerdown", "keydown"])
        addEventListener(event, stop, { once: true, passive: true, capture: true });
      setTimeout(stop, 10000);
      root.scrollIntoView();
      watch.observe(document.body);
    },
  };
}

function mountOne(root, widget, name) {
  root.dataset.live = "";
  const stage = document.createElement("div");
  try {
    const state = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    if (state === null || typeof state !== "object" || Array.isArray(state))
      throw new Error("the state is not an object");
    widget.render({ model: makeModel(state), el: stage, link: linked(root, name) });
  } catch (error) {
    const alert = document.createElement("p");
    alert.className = "attnlib-alert";
    alert.setAttribute("role", "alert");
    alert.textContent = `This widget cannot start. ${error.message}`;
    stage.replaceChildren(alert);
  }
  // The static view stays where the live one could not come.
  if (!stage.querySelector("[role=alert]:not([hidden])")) root.querySelector(".attnlib-picture")?.remove();
  root.prepend(stage);
}

/** A script inside a widget's root (a live output) is for that one; any other is for every one that waits on the page. */
export function mount(script, name, widget) {
  const own = script?.closest(`[data-attnlib="${name}"]`);
  const roots = own ? [own] : document.querySelectorAll(`[data-attnlib="${name}"]:not([data-live])`);
  for (const root of roots) mountOne(root, widget, name);
}
