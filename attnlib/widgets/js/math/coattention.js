// Co-attention over the cells of a picture and the phrases of a question, as co_attention_model.py holds a network.

import { softmax } from "./distributions.js";
import { applied, dotted } from "./vectors.js";
import { linear, unpackedLayer } from "./weights.js";

const tanh = (vector) => vector.map(Math.tanh);
const plus = (a, b) => a.map((x, i) => x + b[i]);
const mean = (weights, items) => items[0].map((_, i) => weights.reduce((sum, w, n) => sum + w * items[n][i], 0));

/** A network of a kind with its layers as numbers, and what sees a cell. */
export function network({ cell, seen, ...kinds }, kind) {
  const layers = Object.entries(kinds[kind]).map(([name, layer]) => [name, unpackedLayer(layer)]);
  return { kind, cell, seen: unpackedLayer(seen), ...Object.fromEntries(layers) };
}

/** The cells of a picture of bytes as regions, row by row. */
export function regions({ seen, cell }, { height, width, rgb }) {
  const found = [];
  for (let top = 0; top + cell <= height; top += cell)
    for (let left = 0; left + cell <= width; left += cell) {
      const pixels = [];
      for (let channel = 0; channel < 3; channel += 1)
        for (let y = top; y < top + cell; y += 1)
          for (let x = left; x < left + cell; x += 1) pixels.push((2 * rgb[3 * (y * width + x) + channel]) / 255 - 1);
      found.push(tanh(linear(seen, pixels)));
    }
  return found;
}

/** For each word the strongest of the phrases of one to three words that begin there, feature by feature. */
export function phrases(net, words) {
  const embedded = words.map((word) => [...net.embedding.rows[word]]);
  const nothing = embedded[0].map(() => 0);
  return embedded.map((_, t) => {
    const lengths = [1, 2, 3].map((length) => {
      const window = Array.from({ length }, (__, place) => embedded[t + place] ?? nothing).flat();
      return tanh(linear(net[`kernel_${length}`], window));
    });
    return lengths[0].map((__, i) => Math.max(...lengths.map((each) => each[i])));
  });
}

/** Weights of items, and their mean, asked through a hidden vector each. */
function pooled(hidden, { rows }, items) {
  const weights = softmax(hidden.map((each) => dotted(rows[0], each)));
  return { weights, context: mean(weights, items) };
}

/** Both sides at once. */
function parallel(net, image, question) {
  const turned = question.map((word) =>
    image[0].map((_, j) => word.reduce((sum, x, i) => sum + x * net.affinity_weight.rows[i][j], 0)),
  );
  const affinity = turned.map((word) => image.map((region) => Math.tanh(dotted(word, region))));
  const [seen, read] = [
    image.map((v) => applied(net.image_weight.rows, v)),
    question.map((q) => applied(net.question_weight.rows, q)),
  ];
  const gathered = (own, other, pair) =>
    own.map((each, a) => tanh(other.reduce((sum, one, b) => sum.map((x, i) => x + pair(a, b) * one[i]), each)));
  const forImage = gathered(seen, read, (n, t) => affinity[t][n]);
  const forQuestion = gathered(read, seen, (t, n) => affinity[t][n]);
  return {
    affinity,
    first: null,
    image: pooled(forImage, net.image_vector, image),
    question: pooled(forQuestion, net.question_vector, question),
  };
}

/** One turn: the items, asked by the guide, if there is one. */
function asked(items, { rows }, vector, guide, guideWeight) {
  const shift = guide && applied(guideWeight.rows, guide);
  return pooled(
    items.map((each) => tanh(shift ? plus(applied(rows, each), shift) : applied(rows, each))),
    vector,
    items,
  );
}

/** In turn: the question, the image asked by it, the question asked again. */
function alternating(net, image, question) {
  const first = asked(question, net.summary_weight, net.summary_vector, null, null);
  const looked = asked(image, net.image_weight, net.image_vector, first.context, net.image_guide);
  const again = asked(question, net.question_weight, net.question_vector, looked.context, net.question_guide);
  return { affinity: null, first, image: looked, question: again };
}

/** What a network makes of regions and the numbers of words: weights of both sides, and a probability for each answer. */
export function answered(net, image, words) {
  const question = phrases(net, words);
  const found = (net.kind === "parallel" ? parallel : alternating)(net, image, question);
  const fused = tanh(applied(net.fusion.rows, plus(found.image.context, found.question.context)));
  return { ...found, belief: softmax(linear(net.answer, fused)) };
}
