// The buttons "copy" and "QR" of a list fetch one subscription URL when they are pressed.
"use strict";
const CLOSE = { en: "Close", ru: "Закрыть", fa: "بستن" };
document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-link]");
    if (!button) return;
    event.preventDefault();
    const token = button.form.querySelector("[name=csrfmiddlewaretoken]").value;
    const headers = { Accept: "application/json", "X-CSRFToken": token };
    const answer = await fetch(button.formAction, { method: "POST", headers, redirect: "error" });
    if (!answer.ok) return button.form.requestSubmit(button);
    const link = await answer.json();
    if (button.dataset.link === "qr" || !(await copied(link.url))) show(link, button.querySelector(".xp-hidden").textContent);
    else tick(button);
});

// The clipboard API needs HTTPS or localhost.
async function copied(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        return false;
    }
}

function tick(button) {
    const symbol = button.querySelector("[aria-hidden]");
    const before = symbol.textContent;
    symbol.textContent = "check";
    setTimeout(() => (symbol.textContent = before), 2000);
}

function show({ url, code }, name) {
    const dialog = document.createElement("dialog");
    dialog.ariaLabel = name;
    dialog.className = "xp-dialog";
    const picture = document.createElement("div");
    picture.className = "xp-code";
    picture.innerHTML = code;
    const field = document.createElement("input");
    field.className = "xp-secret";
    field.readOnly = true;
    field.value = url;
    field.setAttribute("aria-label", "URL");
    const close = document.createElement("button");
    close.type = "button";
    close.className = "button xp-copy";
    close.textContent = "✕";
    close.ariaLabel = CLOSE[document.documentElement.lang] ?? CLOSE.en;
    close.addEventListener("click", () => dialog.close());
    dialog.append(picture, field, close);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    field.select();
}
