// What a page does besides its widgets: folded code opened all at once, claims chosen by verdict, notebooks saved.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const article = document.querySelector("article.bd-article") ?? document;
  const folds = [...article.querySelectorAll("details.hide")];
  if (folds.length > 2) foldAll(article, folds);
  const claims = [...article.querySelectorAll(".claim-entry")];
  if (claims.length) choose(article, claims);
  for (const link of document.querySelectorAll('a[href$=".ipynb"]')) {
    link.download = "";
    link.removeAttribute("target");
  }
});

function foldAll(article, folds) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "attnlib-fold-all";
  button.setAttribute("aria-pressed", "false");
  button.textContent = "Show all code";
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") === "false";
    for (const fold of folds) fold.open = open;
    button.setAttribute("aria-pressed", String(open));
    button.textContent = open ? "Hide the folded code" : "Show all code";
  });
  const times = [...article.querySelectorAll(".admonition.card dt")].find((head) => head.innerText === "Reading time");
  if (times) times.nextElementSibling.lastElementChild.append(" ", button);
  else article.querySelector("h1")?.after(button);
}

function choose(article, claims) {
  const group = document.createElement("fieldset");
  group.className = "claim-choice";
  const legend = document.createElement("legend");
  legend.textContent = "Show the claims that came out";
  group.append(legend);
  const told = document.createElement("p");
  told.setAttribute("role", "status");
  const verdicts = ["all", ...new Set(claims.map((claim) => verdictOf(claim)))];
  for (const verdict of verdicts) {
    const label = document.createElement("label"), input = document.createElement("input");
    input.type = "radio";
    input.name = "verdict";
    input.checked = verdict === "all";
    input.addEventListener("change", () => {
      let shown = 0;
      for (const claim of claims) {
        claim.hidden = verdict !== "all" && verdictOf(claim) !== verdict;
        shown += !claim.hidden;
      }
      told.textContent = `${shown} of ${claims.length} claims`;
    });
    label.append(input, ` ${verdict}`);
    group.append(label);
  }
  group.append(told);
  claims[0].parentElement.closest("section").querySelector("h2")?.after(group);
}

function verdictOf(claim) {
  return [...claim.classList].find((name) => name.startsWith("verdict-")).slice("verdict-".length);
}
