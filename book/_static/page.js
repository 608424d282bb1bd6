// What a page does besides its widgets: folded code joined and opened all at once, claims chosen by verdict, notebooks
// saved.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const article = document.querySelector("article.bd-article") ?? document;
  const folds = [...article.querySelectorAll("details.hide")];
  for (const run of neighbours(folds)) join(run);
  if (folds.length > 2) foldAll(article, folds);
  const claims = [...article.querySelectorAll(".claim-entry")];
  if (claims.length) choose(article, claims);
  for (const link of document.querySelectorAll('a[href$=".ipynb"]')) {
    link.download = "";
    link.removeAttribute("target");
  }
});

// Folded cells in runs between which nothing stands, neither text nor what a cell gave.
function neighbours(folds) {
  const runs = [];
  for (const fold of folds) {
    const cell = fold.parentElement,
      last = runs.at(-1)?.at(-1);
    const follows = last && !last.nextElementSibling && last.parentElement === cell.previousElementSibling;
    if (follows && cell.firstElementChild === fold) runs.at(-1).push(fold);
    else runs.push([fold]);
  }
  return runs.filter((run) => run.length > 1);
}

// One bar for a run: it says what all hold. What opens one, a search in the page too, opens all.
function join(run) {
  const bars = run.map((fold) => fold.querySelector("summary .collapsed"));
  if (bars.includes(null)) return;
  bars[0].textContent = together(bars.map((bar) => bar.textContent.trim()));
  for (const [place, fold] of run.entries()) {
    if (place > 0) fold.classList.add("attnlib-joined");
    if (place < run.length - 1) fold.parentElement.classList.add("attnlib-goes-on");
    fold.addEventListener("toggle", () => {
      for (const other of run) other.open = fold.open;
    });
  }
}

// "Show the code of the experiment", "Show the code of the figure": "Show the code of the experiment and the figure".
function together(texts) {
  const same = ["Show the code of ", "Show "].find((start) => texts.every((text) => text.startsWith(start))) ?? "";
  const parts = [...new Set(texts.map((text) => text.slice(same.length)))];
  if (same === "Show ") return same + parts.join("; ");
  return same + [parts.slice(0, -1).join(", "), parts.at(-1)].filter(Boolean).join(" and ");
}

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
    const label = document.createElement("label"),
      input = document.createElement("input");
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
