// Questions about maps, judged as in attnlib.widgets.map_reader.

/** What is said to an answer, as [verdict, words]: right and why, wrong and the first hint that fits, or nothing yet. */
export function judged({ right, why, hints }, answer) {
  if (!answer.length) return ["", ""];
  if (right.every((place, i) => place === answer[i])) return ["right", why];
  return ["wrong", hints.find(({ to }) => to.every((place, i) => place === -1 || place === answer[i])).said];
}
