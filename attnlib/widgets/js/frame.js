// The frame of every widget: what it starts from, its news, its errors.
//
// A member's module ends with `export default { build, unnamed, hint };`. `build(view, state)` makes the DOM in
// `view.root` once and returns `update(state)`, which only writes attributes and text. A control calls
// `view.set({ trait: value })`: model, kernel and picture follow in the next frame. Values in the model are replaced,
// never edited in place. `view.news(text, more)` writes both into `view.caption`, which the member puts where it wants
// it, and tells a screen reader the text when it has changed, politely and not too often; `view.schema` holds the rules
// of the traits, `view.data` what the class gives the page beside them. `unnamed` is what the list of presets says of a
// state that is none of them, `hint` the line that stands beside it. With `inSight: true` the presets are buttons.

import { button } from "./controls.js";
import { checker } from "./check.js";
import { html, pool, svg, uid, write } from "./dom.js";
import { read as readLink, write as writeLink } from "./link.js";

const alike = (one, other) => one === other || JSON.stringify(one) === JSON.stringify(other);

function announcer(node) {
  let timer = 0;
  return (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => write(node, { text }), 500);
  };
}

/** The button that copies a link to what is shown: two links of a chain. */
function copier(onClick) {
  const { node } = button({ label: "", onClick });
  const half = (d) =>
    svg("path", { d, fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round" });
  const [one, other] = [half("M9 12 L15 12 M10 7 H7 a5 5 0 0 0 0 10 H10"), half("M14 7 H17 a5 5 0 0 1 0 10 H14")];
  write(node, { "aria-label": "Copy a link to this state", title: "Copy a link to this state" });
  node.replaceChildren(svg("svg", { viewBox: "0 0 24 24", width: 20, height: 20, "aria-hidden": "true" }, one, other));
  return node;
}

/** The named states to start from, the sentence of the chosen one, and the way back to where the reader started. */
function starts(view, { unnamed, hint, inSight = false }, onCopy = null) {
  let presets = [];
  let origin = null;
  const id = uid();
  const select = html("select", { id });
  const notice = html("p", { class: "attnlib-notice" });
  const options = pool(select, () => ({ node: html("option") }));
  function start(wanted) {
    const preset = presets.find(({ name }) => name === wanted);
    if (!preset) return;
    view.set({ ...preset.state, preset: preset.name });
    view.say(preset.notice);
  }
  select.addEventListener("change", () => start(select.value));
  const reset = button({
    label: "Reset",
    onClick: () => {
      view.set(origin);
      view.say(presets.find(({ name }) => name === origin.preset)?.notice ?? "As it was at the start.");
    },
  });
  const told = html("p", { class: "attnlib-told", hidden: true });
  const ways = onCopy ? [reset.node, copier(onCopy)] : [reset.node];
  const label = html("label", { for: id, text: "Start from" });
  const row = html("div", { class: "attnlib-buttons", role: "group", "aria-label": "Start from" });
  const buttons = pool(row, (i) => button({ label: "", onClick: () => start(presets[i].name) }));
  const control = inSight
    ? html("div", { class: "attnlib-buttons" }, row, ...ways)
    : html("div", { class: `attnlib-control attnlib-start${onCopy ? " attnlib-shared" : ""}` }, label, select, ...ways);
  return {
    node: html("div", { class: "attnlib-presets", "data-open": inSight }, control, notice, ...(onCopy ? [told] : [])),
    started: () => origin.preset,
    /** The next state is where the reader starts. */
    again() {
      origin = null;
    },
    tell(text) {
      write(told, { text, hidden: text === "" });
      if (text) view.say(text);
    },
    update(state) {
      if (!origin || (state.preset && state.preset !== origin.preset)) origin = { ...state };
      presets = state.presets ?? [];
      for (const part of [label, select, row]) write(part, { hidden: presets.length === 0 });
      const names = presets.map(({ name }) => name);
      const wanted = names.includes(state.preset) ? state.preset : "";
      if (inSight)
        buttons(names.length).forEach((item, i) => {
          item.update({ label: names[i] });
          write(item.node, { "aria-pressed": String(names[i] === wanted) });
        });
      const all = wanted ? names : ["", ...names];
      options(all.length).forEach(({ node }, i) => write(node, { value: all[i], text: all[i] || unnamed }));
      if (select.value !== wanted) select.value = wanted;
      const text = presets.find(({ name }) => name === wanted)?.notice ?? hint;
      // What is being dragged must not move: a shorter sentence keeps the room of the one before it.
      const room = wanted ? 0 : notice.offsetHeight;
      if (notice.textContent !== text && room) notice.style.minHeight = `${room}px`;
      else if (notice.textContent !== text) notice.removeAttribute("style");
      write(notice, { text });
      reset.update({ disabled: Object.keys(origin).every((trait) => origin[trait] === state[trait]) });
    },
  };
}

/** The render function of a widget; `schema` says which traits there are and what each may be. */
export function define({ name, schema, data = null }, { build, ...manner }) {
  const traits = Object.keys(schema);
  return function render({ model, el, link = null }) {
    const alert = html("p", { class: "attnlib-alert", role: "alert", hidden: true });
    const status = html("p", { class: "attnlib-hidden", role: "status" });
    const root = html("div", { class: "attnlib-body" });
    const frame = html(
      "div",
      { class: "attnlib attnlib-view", role: "group", "aria-label": name, "data-lm-suppress-shortcuts": "true" },
      alert,
      root,
      status,
    );
    el.append(frame);
    // The page around (JupyterLab above all) takes arrow keys for itself: let it have Tab and Escape only.
    frame.addEventListener("keydown", (event) => {
      if (event.key !== "Tab" && event.key !== "Escape") event.stopPropagation();
    });

    let request = 0;
    let dirty = false;
    let update = null;
    let told = null;
    const check = checker(schema);
    const view = {
      root,
      schema,
      data,
      caption: html("p", { class: "attnlib-caption" }),
      say: announcer(status),
      /** What a preset says is true of its state only: it goes with the first change. */
      set(changes) {
        const moved = Object.keys(changes).some((trait) => !alike(changes[trait], model.get(trait)));
        const all = moved && "preset" in schema ? { preset: "", ...changes } : changes;
        if (moved) bar.tell("");
        for (const [trait, value] of Object.entries(all)) model.set(trait, value);
        dirty = true;
        schedule();
      },
      news(text, more = "") {
        write(view.caption, { text: more ? `${text} ${more}` : text });
        if (told !== null && told !== text) view.say(text);
        told = text;
      },
    };
    const stateNow = () => Object.fromEntries(traits.map((trait) => [trait, model.get(trait)]));
    const stored = stateNow();
    const bar = starts(view, manner, link && copyLink);
    async function copyLink() {
      const pieces = writeLink(schema, stored, stateNow(), bar.started());
      if (!pieces) return bar.tell("This state is too large for a link.");
      const address = link.address(pieces);
      try {
        history.replaceState(null, "", address);
        await navigator.clipboard.writeText(address);
        bar.tell("The link is copied.");
      } catch {
        bar.tell("The link stands in the address line.");
      }
    }
    function follow(pieces) {
      const { preset, changes, left } = readLink(schema, stored, pieces);
      const held = stored.presets?.find(({ name: other }) => other === preset)?.state;
      const to = (state) => {
        for (const [trait, value] of Object.entries(state)) model.set(trait, value);
        return draw();
      };
      bar.again();
      to(stored);
      const message = (held && to({ ...held, preset })) || to(changes);
      if (message) {
        bar.again();
        to(stored);
      }
      const not = message ? [message.slice(name.length + 2)] : left;
      bar.tell(not.length ? `Left out of the link: ${not.slice(0, 3).join("; ")}.` : "");
      frame.tabIndex = -1;
      frame.focus({ preventScroll: true });
      link.show();
    }
    function draw() {
      request = 0;
      const state = stateNow();
      let message = "";
      try {
        check(state);
        if (!update) {
          root.replaceChildren(bar.node);
          update = build(view, state);
        }
        bar.update(state);
        update(state);
      } catch (error) {
        message = `${name}: ${error.message}`;
      }
      write(alert, { text: message, hidden: message === "" });
      write(root, { hidden: message !== "" });
      if (dirty) {
        dirty = false;
        model.save_changes();
      }
      return message;
    }
    function schedule() {
      if (!request) request = requestAnimationFrame(draw);
    }
    for (const trait of traits) model.on(`change:${trait}`, schedule);
    draw();
    if (link) {
      const look = () => link.given() && follow(link.given());
      link.listen(look);
      queueMicrotask(look); // when it stands in the page
    }
    return () => {
      cancelAnimationFrame(request);
      for (const trait of traits) model.off(`change:${trait}`, schedule);
    };
  };
}
