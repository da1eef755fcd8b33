"use strict";
// Images, dialogs, searches. Names of strangers are only ever set as text.
const report = JSON.parse(document.getElementById("report-data").textContent);
document.documentElement.classList.add("has-script");

const group = (n) => n.toLocaleString("en");

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) { element.textContent = text; element.dir = "auto"; }
  if (name) element.className = name;
  return element;
}

// Each image is on the page once: in an element, which may wait in a <template>, or in the data.
const holders = new Map();
for (const root of [document, ...[...document.querySelectorAll("template")].map((one) => one.content)]) {
  for (const element of root.querySelectorAll("[data-row]")) holders.set(Number(element.dataset.row), element);
}

function makeImage(row, name = report.ids[row]) {
  const holder = holders.get(row), source = report.images[row] ?? holder?.src ?? holder?.href.baseVal;
  if (!source) return make("span", "no image", "none");
  const image = new Image();
  image.src = source;
  image.alt = name;
  return image;
}

function describeRow(row) {
  const { classes, splits, labels, rowSplits, heads } = report;
  const label = labels[row] < 0 ? "no label" : `label ${classes[labels[row]]}`;
  const lines = [label + (rowSplits[row] < 0 ? "" : ` · ${splits[rowSplits[row]]}`)];
  for (const head of heads) {
    if (head.predicted[row] < 0) continue;
    const said = head.classes[head.predicted[row]];
    const score = head.scores[row] === null ? "" : ` ${head.scores[row].toFixed(3)}`;
    const verdict = labels[row] < 0 ? "" : isWrong(head, row) ? "✗ wrong: " : "✓ right: ";
    lines.push(`${verdict}predicted ${said}${score}${heads.length > 1 ? ` by ${head.name}` : ""}`);
  }
  return lines;
}

function isWrong(head, row) {
  const label = report.labels[row];
  return head.predicted[row] >= 0 && label >= 0 && head.labels[head.predicted[row]] !== label;
}

function makeFigure(row) {
  const figure = make("figure"), caption = make("figcaption");
  caption.append(...describeRow(row).map((line) => make("span", line, "said")), make("span", report.ids[row], "id"));
  figure.append(makeImage(row), caption);
  return figure;
}

const dialog = document.getElementById("images");

function openImages(title, text, rows) {
  document.getElementById("images-title").textContent = title;
  document.getElementById("images-note").textContent = text;
  document.getElementById("images-cards").replaceChildren(...rows.map((row) => {
    const item = make("li");
    item.append(makeFigure(row));
    return item;
  }));
  dialog.showModal();
  dialog.scrollTop = 0;
}

document.getElementById("images-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.cell) {
    const [number, label, said, n] = button.dataset.cell.split(",").map(Number);
    const { classes } = report.heads[number];
    const rows = button.dataset.rows ? button.dataset.rows.split(",").map(Number) : [];
    const text = n === 1 ? "1 row." : `${rows.length < n ? `${rows.length} of ` : ""}${group(n)} rows, the most confident first.`;
    openImages(label === said ? `${classes[label]}, predicted correctly` : `${classes[label]}, predicted as ${classes[said]}`, text, rows);
  } else if (button?.classList.contains("copy")) {
    navigator.clipboard.writeText(button.previousElementSibling.textContent).then(() => {
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
});
if (!navigator.clipboard) for (const button of document.querySelectorAll(".copy")) button.hidden = true;

// A search over the lines of a long table or list: those that match, up to as many as stood there.
for (const input of document.querySelectorAll("[data-search]")) {
  const key = input.dataset.search, body = document.getElementById(`${key}-lines`);
  const first = [...body.querySelectorAll(":scope > [data-find]")];
  const all = [...first, ...body.querySelector("template").content.children];
  const names = all.map((line) => line.dataset.find.toLowerCase());
  input.addEventListener("input", () => {
    const word = input.value.trim().toLowerCase();
    const found = all.filter((_, place) => names[place].includes(word));
    const shown = found.slice(0, first.length);
    body.replaceChildren(...shown);
    document.getElementById(`${key}-found`).textContent = shown.length < found.length ? `${shown.length} of ${group(found.length)} are shown.` : `${group(found.length)} found.`;
  });
}

// The list of sections marks the one that is read.
if ("IntersectionObserver" in window) {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.getAttribute("aria-labelledby"))?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  for (const section of document.querySelectorAll("main > section")) seen.observe(section);
}
