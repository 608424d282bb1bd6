// The static host: what stands in for a kernel in a built page. It reads the state that lies beside the script,
// gives `render` the few methods of an anywidget model that it needs, and puts the live view where the picture was.

function makeModel(state) {
  const listeners = new Map();
  const heard = (event) => listeners.get(event) ?? [];
  return {
    get: (name) => state[name],
    set(name, value) {
      if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
      state[name] = value;
      for (const event of [`change:${name}`, "change"]) for (const listener of [...heard(event)]) listener();
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

function mountOne(root, widget) {
  root.dataset.live = "";
  const stage = document.createElement("div");
  const picture = root.querySelector(".attnlib-picture");
  try {
    const state = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    if (state === null || typeof state !== "object" || Array.isArray(state))
      throw new Error("the state is not an object");
    widget.render({ model: makeModel(state), el: stage });
  } catch (error) {
    const alert = document.createElement("p");
    alert.className = "attnlib-alert";
    alert.setAttribute("role", "alert");
    alert.textContent = `This widget cannot start. ${error.message}`;
    stage.replaceChildren(alert);
  }
  root.prepend(stage);
  // The picture stays where the live view could not come.
  if (picture) picture.hidden = !stage.querySelector("[role=alert]:not([hidden])");
}

/** `script` is the element that runs (null where a host evaluates scripts by hand: then every waiting widget). */
export function mount(script, name, widget) {
  const own = script?.closest(`[data-attnlib="${name}"]`);
  const roots = own ? [own] : document.querySelectorAll(`[data-attnlib="${name}"]:not([data-live])`);
  for (const root of roots) mountOne(root, widget);
}
