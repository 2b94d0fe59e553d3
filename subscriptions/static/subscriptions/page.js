// The page is whole without this: it only brings the buttons that need a script, and the reader's time zone.
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

// Times are shown in the reader's zone: the cookie tells the panel, once.
const zone = encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone ?? "");
const isTold = () => document.cookie.split("; ").includes(`xpert_zone=${zone}`);
if (zone && zone !== encodeURIComponent(document.documentElement.dataset.zone) && !isTold()) {
    document.cookie = `xpert_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
    if (isTold()) location.reload();
}
