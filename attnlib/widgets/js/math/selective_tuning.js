// attnlib.brain.selective_tuning on a row of numbers with one channel. `layers`, the lowest first, are { weight, stride }.

/** The responses of all layers, the inputs first; units that are `inhibited` answer 0. */
export function feedForward(inputs, layers, inhibited = null) {
  const gated = (values, level) => values.map((value, i) => (inhibited?.[level][i] ? 0 : value));
  const responses = [gated(inputs, 0)];
  layers.forEach(({ weight, stride }, level) => {
    const below = responses[level];
    const length = Math.floor((below.length - weight.length) / stride) + 1;
    const pooled = (_, u) => weight.reduce((sum, w, k) => sum + w * below[u * stride + k], 0);
    responses.push(gated(Array.from({ length }, pooled), level + 1));
  });
  return responses;
}

/** Both passes, the winner at the top (-1 for none), and of each level which units pass and which are inhibited. */
export function selectiveTuning(inputs, layers, { bias, share }) {
  const first = feedForward(inputs, layers);
  const wanted = first.at(-1).map((value, u) => bias[u] * value);
  const most = Math.max(...wanted);
  const winner = most > 0 ? wanted.indexOf(most) : -1;
  const passes = [wanted.map((_, u) => u === winner)];
  const inhibited = [wanted.map(() => false)];
  for (let level = layers.length - 1; level >= 0; level -= 1) {
    const { weight, stride } = layers[level];
    const passing = first[level].map(() => false);
    const reached = [...passing];
    passes[0].forEach((on, u) => {
      if (!on) return;
      const gives = weight.map((w, k) => w * first[level][u * stride + k]);
      const largest = Math.max(...gives);
      gives.forEach((give, k) => {
        reached[u * stride + k] = true;
        if (largest > 0 && give >= share * largest) passing[u * stride + k] = true;
      });
    });
    passes.unshift(passing);
    inhibited.unshift(reached.map((within, i) => within && !passing[i]));
  }
  return { first, second: feedForward(inputs, layers, inhibited), winner, passes, inhibited };
}
