// Sends a form once: after a double click the browser would show the second response, and the first may hold a secret.
"use strict";
const sent = new Set();
document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (sent.has(form)) event.preventDefault();
    sent.add(form);
    // A form that was stopped, or reached with the back button, may be sent again.
    setTimeout(() => sent.delete(form), 3000);
});
