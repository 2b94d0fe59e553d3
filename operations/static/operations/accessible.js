// The theme marks some of its buttons as plain text, and names no part of a page. This gives them the roles and names
// that keyboards and screen readers need.
"use strict";
const WORDS = { en: { menu: "Menu", table: "Table" }, ru: { menu: "Меню", table: "Таблица" } };
const words = WORDS[document.documentElement.lang] ?? WORDS.en;
// Elements that act on a click but are neither links nor buttons. Escape closes the filters, so their cover is left out.
const CLICKABLE = ":is(a:not([href]), span, div)[x-on\\:click]:not(#changelist-filter-close)";
const MENUS = "nav[x-show], #changelist-filter, [x-show=openCommandResults]";
const REACHABLE = "input:not([type=hidden]), select, a[href], button, [role=button]";

const isShown = (element) => element.getClientRects().length > 0;

function makeButton(element) {
    element.role = "button";
    element.tabIndex = 0;
    if (element.matches(".material-symbols-outlined")) element.ariaLabel = element.closest("[data-label]")?.dataset.label || words.menu;
    element.addEventListener("keydown", (event) => {
        if (event.target !== element || !["Enter", " "].includes(event.key)) return;
        event.preventDefault();
        element.click();
        setTimeout(enterMenu, 200, element);
    });
}

// Moves the focus into what was opened, because the theme puts that at the end of the page, and back when Escape closes it.
function enterMenu(opener) {
    const menu = [...document.querySelectorAll(MENUS)].filter(isShown).at(-1);
    if (!menu || menu.contains(document.activeElement)) return;
    [...menu.querySelectorAll(REACHABLE)].find(isShown)?.focus();
    // One handler per menu: a listener for each time it is opened would click its opener as often.
    menu.onkeydown = (event) => {
        if (event.key !== "Escape") return;
        menu.onkeydown = null;
        if (menu.matches("nav")) opener.click();
        opener.focus();
    };
}

// The fields with suggestions: their names are the labels of the selects that they stand for.
function nameSuggestions(select) {
    const label = document.querySelector(`label[for="${select.id}"]`);
    const box = select.nextElementSibling?.querySelector(".select2-selection");
    if (!label || !box) return;
    label.id ||= `label_of_${select.id}`;
    const shown = box.querySelector(".select2-selection__rendered");
    box.setAttribute("aria-labelledby", `${label.id} ${shown.id}`);
    box.querySelector(".select2-search__field")?.setAttribute("aria-labelledby", label.id);
    if (shown.role === "textbox") shown.setAttribute("aria-labelledby", label.id);
}

function nameParts() {
    document.querySelector("#main, #page")?.setAttribute("role", "main");
    document.querySelectorAll(CLICKABLE).forEach(makeButton);
    for (const box of document.querySelectorAll(".simplebar-content-wrapper")) {
        box.ariaLabel = box.closest("nav") ? words.menu : words.table;
        if (!box.querySelector("table")) box.removeAttribute("role");
    }
    for (const table of document.querySelectorAll(".xp-table")) {
        if (table.scrollWidth > table.clientWidth) Object.assign(table, { tabIndex: 0, role: "region", ariaLabel: words.table });
    }
    document.querySelectorAll("select.select2-hidden-accessible").forEach(nameSuggestions);
    document.querySelectorAll(".help-tooltip[aria-label]").forEach((hint) => hint.setAttribute("role", "img"));
}

// After the scripts of the page, which make some of these parts when it has loaded.
window.addEventListener("load", () => setTimeout(nameParts));
