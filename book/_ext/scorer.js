// How the search ranks. Sphinx's own puts functions first, and pages of the same score in the order of the alphabet.
const REFERENCE = /(^|\/)(appendix\/api|_modules|genindex|py-modindex)/;
const OVERVIEW = /(^|\/)(index|claims|references)$/; // pages that name everything
// oxlint-disable-next-line no-var no-unused-vars -- Sphinx looks for a global of this name
var Scorer = {
  // result: [docname, title, anchor, description, score, filename]
  score: ([docname, , anchor, , score]) =>
    score - (REFERENCE.test(docname) ? 20 : 0) - (OVERVIEW.test(docname) ? 15 : 0) + (anchor ? 1 : 0),
  objNameMatch: 8,
  objPartialMatch: 3,
  objPrio: { 0: 4, 1: 2, 2: -5 },
  objPrioDefault: 0,
  title: 25,
  partialTitle: 12,
  term: 5,
  partialTerm: 1,
};
