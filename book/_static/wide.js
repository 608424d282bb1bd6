// What is wider than the page: tables and formulas show on which side there is more, figures open at full size.
"use strict";

const TABLE = ".pst-scrollable-table-container",
  WIDE = `${TABLE}, div.math`;

document.addEventListener("DOMContentLoaded", () => {
  const article = document.querySelector("article.bd-article") ?? document;
  const boxes = [...article.querySelectorAll(WIDE)];
  const sizes = new ResizeObserver((changed) => tell(changed.map((entry) => entry.target.closest(WIDE))));
  for (const box of boxes) {
    sizes.observe(box);
    if (box.matches(TABLE)) sizes.observe(box.firstElementChild);
    box.addEventListener("scroll", () => tell([box]), { passive: true });
  }
  const links = article.querySelectorAll(".cell_output a.image-reference");
  if (links.length) enlarge([...links]);
});

// All is measured before anything is written: a chapter has well over a hundred formulas.
function tell(boxes) {
  const seen = boxes.map((box) => [box, box.scrollWidth - box.clientWidth, box.scrollLeft]);
  for (const [box, beyond, at] of seen) {
    box.classList.toggle("attnlib-before", at > 1);
    box.classList.toggle("attnlib-after", beyond - at > 1);
    if (beyond > 1) named(box);
    else for (const attribute of ["tabindex", "role", "aria-label"]) box.removeAttribute(attribute);
  }
}

// What scrolls takes the keyboard's focus, and then must say what it is.
function named(box) {
  if (box.hasAttribute("role")) return;
  const heading = box.closest("section")?.querySelector("h1, h2, h3, h4")?.firstChild.textContent.trim();
  const own = box.querySelector("caption")?.textContent.trim();
  const kind = box.matches(TABLE) ? "Table" : "Formula";
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", `${own ?? `${kind} under ${heading}`}, scrolls sideways`);
}

// One dialog for all figures. Without this script their links lead to the picture alone.
function enlarge(links) {
  const dialog = document.createElement("dialog"),
    close = document.createElement("button");
  const room = document.createElement("div"),
    picture = document.createElement("img");
  dialog.className = "attnlib-figure";
  dialog.setAttribute("aria-label", "A figure at full size");
  close.type = "button";
  close.textContent = "Close";
  room.tabIndex = 0;
  room.append(picture);
  dialog.append(close, room);
  document.body.append(dialog);
  let from = null;
  for (const link of links) {
    link.classList.add("attnlib-opens");
    link.setAttribute("aria-haspopup", "dialog");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab is wanted
      event.preventDefault();
      from = link;
      const small = link.querySelector("img");
      picture.src = small.src;
      picture.alt = small.alt;
      picture.style.filter = getComputedStyle(small).filter; // in the dark some are turned round
      picture.style.setProperty("--least", small.style.width || `${small.naturalWidth / 2}px`);
      picture.style.setProperty("--most", `${small.naturalWidth}px`);
      dialog.showModal();
    });
  }
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside the figure
  });
  dialog.addEventListener("close", () => from?.focus());
}
