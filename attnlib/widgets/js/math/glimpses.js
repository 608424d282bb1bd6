// The recurrent attention model of attnlib.input_features, a glimpse at a time.

import { softmax } from "./distributions.js";
import { linear, unpackedLayer } from "./weights.js";

/** The layers of a model that a trait holds, as numbers. */
export function network({ size, scales, layers }) {
  const named = Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, unpackedLayer(layer)]));
  return { size, scales, channels: named.what.rows[0].length / (scales * size ** 2), ...named };
}

/** A picture of bytes as three planes of numbers from 0 to 1; of a grey one all are the same. */
export function planes({ height, width, rgb }) {
  const plane = (channel) => Float64Array.from({ length: height * width }, (_, i) => rgb[3 * i + channel] / 255);
  return { height, width, data: [0, 1, 2].map(plane) };
}

/** Left and top edge of each patch, in pixels from the corner of the image, and its width. */
export function patchEdges([x, y], { height, width, size, scales }) {
  const centre = [((x + 1) * width) / 2, ((y + 1) * height) / 2];
  return Array.from({ length: scales }, (_, k) => [...centre.map((at) => at - (2 ** k * size) / 2), 2 ** k * size]);
}

/** For each cell of a line, `factor` pixels long: which pixels of the image it covers, and how much of each. */
function covered(start, size, factor, length) {
  return Array.from({ length: size }, (_, cell) => {
    const [from, to] = [start + factor * cell, start + factor * (cell + 1)];
    const parts = [];
    for (let i = Math.max(Math.floor(from), 0); i < Math.min(Math.ceil(to), length); i += 1)
      parts.push([i, (Math.min(to, i + 1) - Math.max(from, i)) / factor]);
    return parts;
  });
}

/** What a retina sees: for each scale, for each channel, `size` by `size` means; nought outside of the image. */
export function retina({ height, width, data }, place, { size, scales, channels }) {
  return patchEdges(place, { height, width, size, scales }).map(([left, top], k) => {
    const columns = covered(left, size, 2 ** k, width);
    const rows = covered(top, size, 2 ** k, height);
    return data.slice(0, channels).map((plane) => {
      const patch = new Float64Array(size ** 2);
      rows.forEach((lines, a) => {
        columns.forEach((across, b) => {
          for (const [i, down] of lines)
            for (const [j, part] of across) patch[a * size + b] += down * part * plane[i * width + j];
        });
      });
      return patch;
    });
  });
}

const sum = (one, other) => one.map((value, i) => value + other[i]);
const rectified = (vector) => vector.map((value) => Math.max(value, 0));

/** A glimpse at a place: the state after it, what is believed then, and where the model would look next. */
export function glimpse(net, image, place, before) {
  const seen = retina(image, place, net).flatMap((channels) => channels.flatMap((patch) => [...patch]));
  const what = linear(net.from_what, rectified(linear(net.what, seen)));
  const where = linear(net.from_where, rectified(linear(net.where, place)));
  const said = linear(net.from_glimpse, rectified(sum(what, where)));
  const state = rectified(sum(linear(net.from_state, before), said));
  return { state, belief: softmax(linear(net.action, state)), next: linear(net.place, state) };
}

/** A glimpse at each of the places, from a state of noughts. */
export function glimpses(net, image, places) {
  let state = net.from_state.rows.map(() => 0);
  return places.map((place) => {
    const found = glimpse(net, image, place, state);
    state = found.state;
    return found;
  });
}
