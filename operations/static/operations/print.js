// Shows the buttons with data-print, which open the browser's dialog for printing.
"use strict";
for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
}
