"use strict";

// Columns are sorted by a click on their heading: numbers from the highest, texts from A, n/a last.
function valueOf(cell) {
  const data = cell.querySelector("data");
  if (data) return Number(data.value);
  return cell.classList.contains("none") ? null : cell.textContent.trim();
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" ? b - a : a.localeCompare(b);
}

function sort(table, place, reverse) {
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[place]), row]);
  rows.sort(([a], [b]) => (reverse && a !== null && b !== null ? compare(b, a) : compare(a, b)));
  table.classList.add("sorted");
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies[0].rows.length < 3) continue;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const reverse = head.getAttribute("aria-sort") === first;
      const second = first === "descending" ? "ascending" : "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", reverse ? second : first);
      sort(table, place, reverse);
    });
  });
}

// The list of contents marks the section in the upper part of the screen.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((entry) => entry.isIntersecting)) {
    links.forEach((link) => link.removeAttribute("aria-current"));
    const link = links.get(entry.target.id);
    link.setAttribute("aria-current", "true");
    link.parentElement.scrollTo({ left: link.offsetLeft - 16 });
  }
}, { rootMargin: "-20% 0px -79% 0px" });
links.forEach((_, id) => observer.observe(document.getElementById(id)));
