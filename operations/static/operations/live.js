// Replaces the content of [data-live] with a fresh copy every N seconds while the page is visible. N is its value.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
    const area = document.querySelector("[data-live]");
    if (!area) return;
    const address = new URL(location.href);
    address.searchParams.set("fragment", "1");
    let timer = 0;

    const reachable = () => [...area.querySelectorAll("a, summary")];

    async function refresh() {
        try {
            // A redirect leads to the login page, so there is nothing to show.
            const answer = await fetch(address, { redirect: "error", credentials: "same-origin" });
            if (!answer.ok) throw new Error(answer.status);
            show(await answer.text());
        } catch {
            for (const note of area.querySelectorAll(".xp-stale")) note.hidden = false;
        }
        wait();
    }

    function show(html) {
        const open = [...area.querySelectorAll("details[open]")].map((found) => found.id);
        const place = reachable().indexOf(document.activeElement);
        area.innerHTML = html;
        for (const id of open) document.getElementById(id)?.setAttribute("open", "");
        if (place >= 0) reachable()[place]?.focus({ preventScroll: true });
    }

    function wait() {
        clearTimeout(timer);
        if (!document.hidden) timer = setTimeout(refresh, area.dataset.live * 1000);
    }

    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
    wait();
});
