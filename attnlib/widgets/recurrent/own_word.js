// OwnWord: a word of the reader's own, said by RNNsearch and by RNNencdec; the weights of a step to drag, or to cut off.

import { chart, within } from "../js/bars.js";
import { button, toggle } from "../js/controls.js";
import { html, pool, svg, uid, write } from "../js/dom.js";
import { handle } from "../js/handle.js";
import { map } from "../js/maps.js";
import { apart, asWord, even, moved, network, read, say } from "../js/math/own_word.js";
import { motor } from "../js/motor.js";
import { largest, steps } from "../js/stepper.js";
import { share } from "../js/text.js";

const BUDGET = 5; // ms of a frame in which letters are read and steps are taken
const LEAST = 10; // of these in a frame, whatever the clock says
const PACE = 700; // ms a sound, played
const HELD = 0.02; // weight from which a letter has a handle
const KEPT = 80; // of what was said last: a reader goes to and fro
const LEGIBLE = 200; // signs of what was pasted
const NAMES = { RNNsearch: "With attention", RNNencdec: "From one vector" };
const many = (count) => (count === 1 ? "1 sound" : `${count} sounds`);
const spoken = (sounds) => sounds.join(" ") || "nothing";

/** What the networks say, worked out a piece at a time and kept: `sayings(...)` gives what is known so far. */
function voices({ networks, letters, sounds, longest }) {
  const known = new Map();
  const made = {};
  const net = (name) => (made[name] ??= network(networks[name]));
  function kept(key, make) {
    if (known.size > KEPT && !known.has(key)) known.delete(known.keys().next().value);
    if (!known.has(key)) known.set(key, make({ done: false }));
    return known.get(key);
  }
  const reading = (name, word) =>
    kept(`${name} ${word}`, (each) =>
      Object.assign(each, {
        pieces: (function* () {
          yield; // the network is made in a piece of its own
          const model = net(name);
          yield;
          each.found = yield* read(
            model,
            [...word].map((letter) => letters.indexOf(letter)),
          );
          each.done = true;
        })(),
      }),
    );
  return (name, { word, cut = false, moves = [] }) =>
    kept(`${name} ${word} ${cut} ${JSON.stringify(moves)}`, (each) =>
      Object.assign(each, {
        steps: [],
        said: [],
        pieces: (function* () {
          const heard = reading(name, word);
          while (!heard.done) yield heard.pieces.next();
          const told = (step) => {
            each.steps.push(step);
            if (step.sound !== sounds.length) each.said.push(sounds[step.sound]);
          };
          const change = (t, own) => (cut ? even(own) : moved(moves, t, own));
          yield* say(net(name), heard.found, { mark: sounds.length, longest, told, change });
          each.done = true;
        })(),
      }),
    );
}

/** A line of sounds in cells; those that are others than the dictionary's in a double frame. */
function line(label) {
  const [list, told] = [
    html("ol", { class: "attnlib-steps-trail", "aria-label": label }),
    html("span", { class: "attnlib-steps-note" }),
  ];
  const cells = pool(list, () => {
    const [text, note] = [html("span"), html("span", { class: "attnlib-hidden" })];
    return { node: html("li", {}, text, note), text, note };
  });
  const node = html(
    "div",
    { class: "attnlib-own-line" },
    html("span", { class: "attnlib-own-name", text: label }),
    html("div", {}, list, told),
  );
  return {
    node,
    update(all, { odd = [], note = "", shown = -1, hidden = false } = {}) {
      cells(all.length).forEach((cell, i) => {
        write(cell.text, { text: all[i] });
        write(cell.note, { text: odd.includes(i) ? ", otherwise" : "" });
        write(cell.node, {
          "data-odd": odd.includes(i),
          "aria-current": i === shown ? "step" : null,
          "data-later": shown >= 0 && i > shown,
        });
      });
      write(told, { text: note });
      write(node, { hidden });
    },
  };
}

/** The word's letters with the weights of a step on them; what a letter has is dragged to another one. */
function board(onMove) {
  const size = { width: 440, height: 190, left: 6, right: 434, top: 16, foot: 140 };
  const { left, right, top, foot } = size;
  const { node, layer, under } = chart({ label: "Weights of this step", ...size, kind: "attnlib-own-board" });
  const columns = pool(layer("attnlib-own-letters"), () => {
    const [tile, bar, outline] = ["attnlib-own-tile", "attnlib-bar", "attnlib-bar-outline"].map((name) =>
      svg("rect", { class: name }),
    );
    const name = svg("text", { y: foot + 30, "text-anchor": "middle" });
    return { node: svg("g", {}, tile, bar, outline, name), tile, bar, outline, name };
  });
  const axis = layer("attnlib-grid");
  axis.append(svg("line", { class: "attnlib-axis", x1: left, x2: right, y1: foot, y2: foot }));
  let shown = { letters: [], held: [] };
  let wide = 1;
  const x = (j) => (left + right) / 2 + (j + 0.5 - shown.letters.length / 2) * wide;
  const place = (event) => (under(event)[0] - x(0)) / wide;
  const y = (weight) => foot - (foot - top) * weight;
  const handles = pool(node.appendChild(svg("g")), (i) => {
    const to = ([value]) => onMove(shown.held[i].letter, Math.round(value));
    const moves = ([value]) => {
      const [less, more, last] = [[Math.round(value) - 1], [Math.round(value) + 1], shown.letters.length - 1];
      return { ArrowLeft: less, ArrowDown: less, ArrowRight: more, ArrowUp: more, Home: [0], End: [last] };
    };
    const hold = ([value]) => [within(value, 0, shown.letters.length - 1)];
    return handle({
      mark: svg("circle", { class: "attnlib-grip", r: 9 }),
      at: (event) => [place(event)],
      moves,
      hold,
      onMove: to,
    });
  });
  // To press a letter is to drag the largest weight there, for who cannot drag.
  node.addEventListener("click", (event) => {
    const j = Math.round(place(event));
    if (event.target.closest?.(".attnlib-point") || !shown.held.length || j < 0 || j >= shown.letters.length) return;
    onMove(shown.held.reduce((best, each) => (each.own > best.own ? each : best)).letter, j);
  });
  return {
    node,
    /** `held`, what can be dragged: { letter, own, to }. */
    update({ letters, own, weights, held }) {
      shown = { letters, held };
      wide = Math.min(52, (right - left) / letters.length);
      const half = wide / 2 - Math.min(2, wide / 12);
      const most = largest(weights);
      const box = (j, weight) => ({ x: x(j) - half, width: 2 * half, y: y(weight), height: foot - y(weight) });
      columns(letters.length).forEach(({ tile, bar, outline, name }, j) => {
        write(tile, {
          x: x(j) - half,
          width: 2 * half,
          y: foot + 8,
          height: 32,
          rx: 4,
          "fill-opacity": 0.42 * (weights[j] ?? 0),
        });
        write(bar, box(j, weights[j] ?? 0));
        write(outline, { ...box(j, own[j] ?? 0), visibility: weights[j] === own[j] ? "hidden" : null });
        write(name, { x: x(j), text: letters[j], "data-strong": j === most });
      });
      handles(held.length).forEach((each, i) => {
        const { letter, own: mass, to } = held[i];
        const words =
          to === letter ? `on its own letter, ${share(mass)}` : `on “${letters[to]}”, letter ${to + 1}, ${share(mass)}`;
        const label = `Weight of “${letters[letter]}”, letter ${letter + 1}`;
        each.update([to], { x: x(to), y: y(mass), label, words, now: to + 1, min: 1, max: letters.length });
      });
    },
  };
}

/** The box for the word, and why what stands in it is none. */
function typing({ letters, most }, onWord) {
  const [id, told] = [uid(), uid()];
  const input = html("input", {
    id,
    type: "text",
    autocomplete: "off",
    autocapitalize: "off",
    autocorrect: "off",
    spellcheck: "false",
    "aria-describedby": told,
  });
  const why = html("p", { id: told, class: "attnlib-own-refused" });
  let [refusal, last] = ["", ""];
  input.addEventListener("input", () => {
    const { word, refusal: no = "" } = asWord(input.value, letters, most);
    refusal = no;
    if (input.value.length > LEGIBLE) input.value = input.value.slice(0, LEGIBLE); // to lay out a page takes a second
    onWord(word, no);
  });
  const label = html("label", { for: id, text: `Your word, up to ${most} letters` });
  return {
    node: html("div", { class: "attnlib-control attnlib-own-word" }, label, input, why),
    update(word) {
      if (document.activeElement !== input || word !== last) refusal = "";
      last = word;
      if (!refusal && asWord(input.value, letters, most).word !== word) input.value = word;
      write(input, { "aria-invalid": refusal ? "true" : null });
      write(why, { text: refusal && `${refusal} Below it is still “${word}”.` });
    },
  };
}

function build(view, first) {
  let now = first;
  let row = 0;
  let [playing, due] = [false, 0];
  let [told, step] = [null, null]; // what a listener has heard of
  const { data } = view;
  const voice = voices(data);
  const put = (changes) => {
    now = { ...now, ...changes }; // the next key may come before the next frame
    view.set(changes);
  };
  /** Presets ask to look about: only what changes the word or the weights ends one. */
  const look = (wanted) => put({ preset: now.preset, step: wanted });
  const word = typing(data, (typed, refusal) => {
    playing = false;
    if (refusal) view.say(refusal);
    if (typed === undefined || typed === now.word) view.set({});
    else put({ word: typed, step: 0, moves: [] });
  });
  const cut = toggle({ label: "Attention cut off: even weights", onInput: (on) => put({ cut: on }) });
  const lines = Object.fromEntries(
    [...Object.entries(NAMES), ["own", "With its own weights"], ["dictionary", "Dictionary"]].map(([name, label]) => [
      name,
      line(label),
    ]),
  );
  const letters = board((letter, to) => {
    if (!all().search.done) return; // what is to be seen is of the word before
    const others = now.moves.filter((each) => each.row !== row || each.letter !== letter);
    put({ moves: to === letter ? others : [...others, { row, letter, to }] });
  });
  const undo = button({ label: "Its own weights again", onClick: () => now.moves.length && put({ moves: [] }) });
  const picture = map((t) => walk(t));
  const control = steps({ forward: "Next sound", onWalk: (count) => walk(count) });
  const play = button({
    label: "Play",
    onClick: () => {
      playing = !playing;
      due = 0;
      if (playing && row + 1 >= all().search.steps.length) look(0);
      else view.set({});
    },
  });
  control.node.append(play.node);
  const heard = html("p", { class: "attnlib-own-heard" });
  const titles = [html("p", { class: "attnlib-own-title" }), picture.node];
  view.root.append(
    html("div", { class: "attnlib-controls attnlib-own-top" }, word.node, cut.node),
    html("div", { class: "attnlib-own-lines" }, ...Object.values(lines).map(({ node }) => node)),
    view.caption,
    html(
      "div",
      { class: "attnlib-two attnlib-own-below" },
      html("div", {}, titles[0], letters.node, undo.node),
      picture.node,
    ),
    control.node,
    heard,
  );

  function all() {
    const touched = now.cut || now.moves.length > 0;
    const search = voice("RNNsearch", now);
    return {
      touched,
      search,
      plain: voice("RNNencdec", { word: now.word }),
      own: touched ? voice("RNNsearch", { word: now.word }) : search,
    };
  }
  function walk(wanted) {
    playing = false;
    const to = within(wanted, 0, Math.max(all().search.steps.length - 1, 0));
    look(to);
    return to;
  }
  let [drawn, sentence, matrix] = [null, null, null];
  /** The map's parts, new only where it has to be laid out anew. */
  function laid({ steps: taken, said }) {
    if (taken !== drawn) {
      const rows = taken.map((_, t) => said[t] ?? "end");
      sentence = {
        rows,
        columns: [...now.word],
        links: [],
        mask: [],
        glosses: [],
        row_language: "",
        column_language: "",
      };
      matrix = { name: "Sounds over letters, all weights", weights: taken.map(({ weights }) => weights) };
    }
    drawn = taken;
    return { sentence, matrix };
  }
  function paint() {
    const { touched, search, plain, own } = all();
    const done = search.done && plain.done && own.done;
    row = Math.min(now.step, Math.max(search.steps.length - 1, 0));
    const ways = Object.hasOwn(data.dictionary, now.word) ? data.dictionary[now.word] : null;
    const judged = ({ said, done: whole }) => {
      if (!ways || !whole) return {};
      const { count, places } = apart(said, ways);
      const missing = count - places.length;
      const out = missing ? `, ${missing} of them left out` : "";
      return { odd: places, note: count ? `differs in ${many(count)}${out}` : "as in the dictionary" };
    };
    lines.RNNsearch.update([...search.said, ...(search.done && search.said.length < data.longest ? ["end"] : [])], {
      ...judged(search),
      shown: row,
    });
    lines.RNNencdec.update(plain.said, judged(plain));
    lines.own.update(own.said, { hidden: !touched, ...judged(own) });
    lines.dictionary.update(ways?.[0] ?? [], { hidden: !ways, note: ways?.length > 1 ? "or another way" : "" });
    write(view.root, { "aria-busy": done ? null : "true" });
    const at = search.steps[row];
    const names = [...search.said, "end"];
    if (at) {
      const held = now.cut
        ? []
        : Array.from(at.own, (mass, letter) => {
            const to = now.moves.find((each) => each.row === row && each.letter === letter)?.to ?? letter;
            return { letter, own: mass, to };
          }).filter(({ letter, own: mass, to }) => mass >= HELD || to !== letter);
      letters.update({
        letters: [...now.word],
        own: at.own,
        weights: at.weights,
        held: now.word.length > 1 ? held : [],
      });
    }
    if (search.done) {
      // to lay out the map takes longer than a frame's letters and steps
      picture.update({ ...laid(search), row, weights: at.weights, linked: [], open: () => true });
    }
    write(titles[0], {
      text: at
        ? `Weights for “${names[row]}”${now.cut ? ", even" : now.moves.length ? "; dashed: its own" : now.word.length > 1 ? ": drag one to another letter" : ""}`
        : "",
    });
    undo.update({ disabled: now.moves.length === 0 });
    control.update(row, row + 1 >= search.steps.length);
    play.update({ label: playing ? "Pause" : "Play" });
    const used = [...new Set([...search.said, ...plain.said])];
    write(heard, { text: used.map((name) => `${name} as in ${data.heard[name]}`).join(", ") });
    speak({ touched, search, plain, own, done, at, name: names[row] });
  }
  /** In the caption what is so; to a listener, when all is said, what has changed. */
  function speak({ touched, search, plain, own, done, at, name }) {
    const how = now.cut ? "with even weights" : touched ? "with moved weights" : "with attention";
    const before = touched ? ` (with its own: ${spoken(own.said)})` : "";
    const says = `“${now.word}” is said ${spoken(search.said)} ${how}${before}, and ${spoken(plain.said)} from one vector.`;
    const j = at ? largest(at.weights) : 0;
    const looks = at
      ? `Step ${row + 1} of ${search.steps.length}, for “${name}”: ${now.cut ? "the same weight on each letter" : `most weight on “${now.word[j]}”`} (${share(at.weights[j])}).`
      : "";
    write(view.caption, { text: done ? looks : "Reading …" });
    if (!done || playing) return;
    if (told !== null && told !== says) view.say(says);
    else if (told !== null && step !== looks) view.say(looks);
    [told, step] = [says, looks];
  }
  /** Letters and steps until the time is over: how many. */
  function advance(end) {
    const { search, plain, own } = all();
    let count = 0;
    for (const each of [search, plain, own]) {
      for (; !each.done && (count < LEAST || performance.now() < end); count += 1) each.pieces.next();
    }
    return count;
  }
  /** A frame's work; when played, the next sound when it is due. */
  function work(time) {
    if (advance(time === Infinity ? Infinity : performance.now() + BUDGET)) paint();
    const { search, plain, own } = all();
    const more = !(search.done && plain.done && own.done);
    if (playing && search.done) {
      due ||= time + PACE;
      if (time >= due) {
        due = time + PACE;
        playing = row + 2 < search.steps.length;
        look(row + 1);
      }
    }
    return more || playing;
  }
  const wake = motor(view.root, work, () => playing); // a page that is read on should not move when the word is said

  return (state) => {
    if (playing && (state.word !== now.word || state.preset !== now.preset)) playing = false;
    now = state;
    word.update(state.word);
    cut.update(state.cut);
    if (view.root.isConnected) advance(performance.now() + BUDGET);
    paint();
    wake();
  };
}

const unnamed = "Your own word";
const hint = "Type a word, step through its sounds, and drag a weight to another letter: what is said instead?";

export default { build, unnamed, hint };
