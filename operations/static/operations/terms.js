// Adds buttons below every input[data-month] that move its day on by some months, from today if it has passed.
"use strict";
const TERMS = { month: 1, quarter: 3, year: 12 };

document.addEventListener("DOMContentLoaded", () => {
    for (const field of document.querySelectorAll("input[data-month]")) {
        const row = document.createElement("div");
        row.className = "xp-terms";
        for (const [name, months] of Object.entries(TERMS)) {
            const button = document.createElement("button");
            button.type = "button";
            button.className = "xp-button";
            button.textContent = field.dataset[name];
            button.addEventListener("click", () => move(field, months));
            row.append(button);
        }
        field.after(row);
    }
});

function move(field, months) {
    const today = new Date();
    const now = Date.UTC(today.getFullYear(), today.getMonth(), today.getDate());
    const from = new Date(Math.max(now, field.valueAsNumber || 0));
    const to = new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + months, from.getUTCDate()));
    // A shorter month takes its last day.
    if (to.getUTCDate() !== from.getUTCDate()) to.setUTCDate(0);
    field.value = to.toISOString().slice(0, 10);
    field.dispatchEvent(new Event("input", { bubbles: true }));
}
