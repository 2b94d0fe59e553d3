// Shows what a form would change while it is filled in: form[data-preview] is sent as a question, and the answer's
// #xp-preview replaces the shown one.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
    const form = document.querySelector("form[data-preview]");
    if (!form) return;
    let timer = 0;

    async function refresh() {
        const data = new FormData(form);
        data.set("preview", "1");
        const answer = await fetch(location, { method: "POST", body: data, redirect: "error" });
        if (!answer.ok) return;
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const found = page.getElementById("xp-preview");
        if (found) document.getElementById("xp-preview").replaceWith(found);
    }

    form.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(refresh, 300);
    });
});
