// The page is whole without this: it only brings the buttons that need a script.
"use strict";
for (const button of document.querySelectorAll("button[data-copy]")) {
    const field = document.getElementById(button.dataset.copy);
    button.addEventListener("click", async () => {
        field.select();
        // The clipboard is open to HTTPS and to the machine itself only; elsewhere the old way still works.
        await (navigator.clipboard ? navigator.clipboard.writeText(field.value) : document.execCommand("copy"));
        button.textContent = button.dataset.done;
    });
    field.addEventListener("focus", () => field.select());
    button.hidden = false;
}
