// Adds a button beside every field with data-copy that copies its value to the clipboard.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
    for (const field of document.querySelectorAll(":is(input, textarea)[data-copy]")) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "button xp-copy";
        button.textContent = field.dataset.copy || "Copy";
        button.addEventListener("click", async () => {
            field.select();
            // The clipboard API needs HTTPS or localhost; elsewhere the old way still works.
            await (navigator.clipboard ? navigator.clipboard.writeText(field.value) : document.execCommand("copy"));
            button.textContent = "✓";
        });
        field.addEventListener("focus", () => field.select());
        field.after(button);
    }
});
