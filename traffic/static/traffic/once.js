// A form goes out once: of a double click the browser shows the second answer, and the first may hold a secret.
"use strict";
const sent = new Set();
document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (sent.has(form)) event.preventDefault();
    sent.add(form);
    // Who has stopped it, or comes back to it, may send it again.
    setTimeout(() => sent.delete(form), 3000);
});
