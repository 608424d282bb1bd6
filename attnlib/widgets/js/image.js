// The family of pictures: a picture with layers over it, places marked in a map, the scale of a map, the reader's own file.

import { button } from "./controls.js";
import { html, pool, svg, write } from "./dom.js";
import { EVEN, mapAddress, packed, pictureAddress, unpacked } from "./math/bitmap.js";

const WIDE = 480; // of a drawing over a picture, in its own units

/** The address of a picture as a trait holds it; made once, for the same picture comes again with every frame. */
const known = new WeakMap();
export function addressOf(picture) {
  if (!known.has(picture)) known.set(picture, pictureAddress(unpacked(picture)));
  return known.get(picture);
}

/**
 * A picture, in it what `update` is given: `src`, `over` (a second one laid over it, or nothing), its size in pixels, what
 * it shows. `layer(name)` is a group of SVG over it, in units of which `unit()` are a pixel; `under(event)` is the place
 * under a pointer, in pixels, row first.
 */
export function panel({ title }) {
  const image = html("img", { class: "attnlib-image", draggable: "false" });
  const over = html("img", { class: "attnlib-image-over", alt: "", draggable: "false", hidden: true });
  const drawing = svg("svg", { class: "attnlib-image-drawing", "aria-hidden": "true" });
  const words = html("figcaption", { text: title });
  const node = html("figure", { class: "attnlib-panel" }, words, html("div", {}, image, over, drawing));
  let size = { height: 1, width: 1 };
  return {
    node,
    unit: () => WIDE / size.width,
    layer: (name) => drawing.appendChild(svg("g", { class: name })),
    under(event) {
      const box = drawing.getBoundingClientRect();
      const at = (place, from, length, count) => ((place - from) / length) * count - 0.5;
      return [at(event.clientY, box.top, box.height, size.height), at(event.clientX, box.left, box.width, size.width)];
    },
    update({ src, over: second, height, width, alt, title: retold = title }) {
      size = { height, width };
      write(words, { text: retold });
      write(image, { src, alt, width, height });
      write(over, { hidden: !second, src: second || null });
      write(drawing, { viewBox: `0 0 ${WIDE} ${(WIDE * height) / width}` });
    },
  };
}

/** A path over a panel: numbered places, joined in their order, each in a disc of `radius` pixels. */
export function numbered(on) {
  const ground = on.layer("attnlib-discs");
  const discs = pool(ground, () => ({ node: svg("circle") }));
  const lines = [0, 1].map(() => ground.appendChild(svg("path")));
  const marks = pool(on.layer("attnlib-numbered"), () => {
    const text = svg("text", { dy: "0.36em" });
    return { node: svg("g", {}, svg("circle", { r: 15 }), text), text };
  });
  return (places, radius) => {
    const unit = on.unit();
    const at = places.map(([row, column]) => [(column + 0.5) * unit, (row + 0.5) * unit]);
    discs(at.length).forEach(({ node }, i) => write(node, { cx: at[i][0], cy: at[i][1], r: radius * unit }));
    const path = at.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
    for (const line of lines) write(line, { d: at.length > 1 ? `M${path}` : "" });
    marks(at.length).forEach(({ node, text }, i) => {
      write(node, { transform: `translate(${at[i][0].toFixed(1)} ${at[i][1].toFixed(1)})` });
      write(text, { text: i + 1 });
    });
  };
}

/** A small map with a name. */
export function thumbnail({ title }) {
  const image = html("img", { class: "attnlib-image" });
  const words = html("figcaption", { text: title });
  return {
    node: html("figure", { class: "attnlib-thumbnail" }, image, words),
    update({ map, most, alt }) {
      write(image, { src: mapAddress(map, most), alt, width: map.width, height: map.height });
    },
  };
}

/** The scale of the colours of a map, with its ends in words. */
export function mapScale({ low, high }) {
  const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((i) => `rgb(${EVEN[i].join()})`).join();
  const bar = html("span", {
    class: "attnlib-map-bar",
    style: `background:linear-gradient(to right,${stops})`,
    "aria-hidden": "true",
  });
  return {
    node: html("p", { class: "attnlib-map-scale" }, html("span", { text: low }), bar, html("span", { text: high })),
  };
}

/** A file as a picture of at most `most` pixels a side. It is read and made smaller here, and sent nowhere. */
async function read(file, most) {
  if (!file.type.startsWith("image/"))
    throw new Error(`${file.name || "What you gave"} is no picture. Take a PNG, JPEG, WebP or GIF.`);
  const found = await createImageBitmap(file).catch(() => {
    throw new Error(
      `${file.name || "The picture"} cannot be read: it is damaged, or of a kind that this browser does not know.`,
    );
  });
  const part = Math.min(1, most / Math.max(found.width, found.height));
  const [width, height] = [found.width, found.height].map((side) => Math.round(side * part));
  if (Math.min(width, height) < 8)
    throw new Error(
      `The picture is too narrow: ${found.width} by ${found.height} pixels leave ${width} by ${height}, and 8 are needed.`,
    );
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff"; // behind what is see-through
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(found, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return packed({ height, width, rgb: data.filter((_, i) => i % 4 < 3) });
}

/** The reader's own picture: chosen, dropped on `area`, or pasted there. onPicture(name, picture) tells. */
export function ownPicture({ area, most, onPicture }) {
  const input = html("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Your own picture" });
  const choose = button({ label: "Your own picture…", onClick: () => input.click() });
  const promise = html("span", { text: "or drop or paste one: it does not leave this page" });
  const alert = html("p", { class: "attnlib-alert", role: "alert", hidden: true });
  const say = (text) => write(alert, { text, hidden: !text });
  async function take(file) {
    try {
      if (!file) throw new Error("There was no picture in what you gave.");
      const picture = await read(file, most);
      say("");
      onPicture(file.name || "Your picture", picture);
    } catch (error) {
      say(error.message);
    }
  }
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = ""; // so that the same file can be taken again
  });
  const over = (event, on) => {
    event.preventDefault();
    write(area, { "data-dropping": on });
  };
  area.addEventListener("dragover", (event) => over(event, true));
  area.addEventListener("dragleave", (event) => over(event, false));
  area.addEventListener("drop", (event) => {
    over(event, false);
    take(event.dataTransfer.files[0]);
  });
  area.addEventListener("paste", (event) => {
    event.preventDefault();
    take([...event.clipboardData.files][0]);
  });
  return { node: html("div", { class: "attnlib-own" }, choose.node, promise, input, alert), say };
}
