/* Chapters before the reference: whoever searches for "verifier" wants the page, then the class. */
var Scorer = {
  score([docname, , , , score]) {
    const lookedUp = docname.startsWith("book/api/") || docname === "book/changelog";
    return lookedUp ? score - 1000 : score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
