// A table that is wider than its place becomes cards: a row below the other, and each figure behind its heading.
"use strict";
const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };

const roleOf = (part) => ROLES[part.tagName] ?? (part.scope === "row" ? "rowheader" : "columnheader");

// With display: block a browser no longer tells screen readers that it is a table.
function makeCards(box, table) {
    const headings = [...table.tHead.rows[0].cells].map((heading) => heading.textContent.trim());
    for (const body of table.tBodies) {
        for (const row of body.rows) for (const cell of row.cells) cell.dataset.label = headings[cell.cellIndex] ?? "";
    }
    for (const part of [table, ...table.querySelectorAll("thead, tbody, tr, th, td")]) part.setAttribute("role", roleOf(part));
    box.classList.add("xp-stacked");
}

function fit(box) {
    box.classList.remove("xp-stacked");
    const table = box.querySelector("table");
    if (table?.tHead && box.scrollWidth > box.clientWidth) makeCards(box, table);
}

// A change of the height is our own work. The next frame, because a box must not change while it is being observed.
const widths = new WeakMap();
const observer = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
        if (!contentRect.width || widths.get(target) === contentRect.width) continue;
        widths.set(target, contentRect.width);
        requestAnimationFrame(() => fit(target));
    }
});

function watch() {
    for (const box of document.querySelectorAll(".xp-table")) observer.observe(box);
}

document.addEventListener("DOMContentLoaded", () => {
    watch();
    const live = document.querySelector("[data-live]");
    if (live) new MutationObserver(watch).observe(live, { childList: true });
});
