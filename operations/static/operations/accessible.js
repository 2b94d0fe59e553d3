// The theme marks some of its buttons as plain text, and names no part of a page. This gives them the roles and names
// that keyboards and screen readers need.
"use strict";
const WORDS = {
    en: { menu: "Menu", table: "Table", skip: "To the content" },
    ru: { menu: "Меню", table: "Таблица", skip: "К содержимому" },
    fa: { menu: "منو", table: "جدول", skip: "رفتن به محتوا" },
};
const words = WORDS[document.documentElement.lang] ?? WORDS.en;
// Elements that act on a click but are neither links nor buttons. Escape closes the filters, so their cover is left out.
const CLICKABLE = ":is(a:not([href]), span, div)[x-on\\:click]:not(#changelist-filter-close)";
const MENUS = "nav[x-show], #changelist-filter, [x-show=openCommandResults]";
const REACHABLE = "input:not([type=hidden]), select, textarea, a[href], button, [role=button], [tabindex='0']";

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

const reachableIn = (menu) => [...menu.querySelectorAll(REACHABLE)].filter(isShown);

// The sidebar is a menu on small screens alone.
function menuOf(opener) {
    if (opener.getAttribute("x-on:click").includes("sidebarMobileOpen")) return document.querySelector("#nav-sidebar");
    return [...document.querySelectorAll(MENUS)].filter(isShown).at(-1);
}

// Moves the focus into what was opened, because the theme puts that at the end of the page, and back when Escape closes it.
function enterMenu(opener) {
    const menu = menuOf(opener);
    if (!menu || !isShown(menu) || menu.contains(document.activeElement)) return;
    reachableIn(menu)[0]?.focus();
    // One handler per menu: a listener for each time it is opened would click its opener as often.
    menu.onkeydown = (event) => {
        // A menu inside this one has done it.
        if (event.defaultPrevented) return;
        keepInside(menu, event);
        if (event.key !== "Escape") return;
        event.preventDefault();
        menu.onkeydown = null;
        if (menu.matches("nav, #nav-sidebar")) opener.click();
        opener.focus();
    };
}

function keepInside(menu, event) {
    if (event.key !== "Tab") return;
    const found = reachableIn(menu);
    const [edge, other] = event.shiftKey ? [found[0], found.at(-1)] : [found.at(-1), found[0]];
    if (document.activeElement !== edge) return;
    event.preventDefault();
    other.focus();
}

// The search of the theme closes when Escape is pressed in its field, which is then empty, and forgets where the focus was.
function keepSearchInside(search) {
    let before = null;
    window.addEventListener("keydown", () => search.contains(document.activeElement) || (before = document.activeElement), true);
    search.addEventListener("keydown", (event) => {
        keepInside(search, event);
        if (event.key !== "Escape") return;
        const field = search.querySelector("input");
        if (event.target !== field) field.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", cancelable: true }));
        setTimeout(() => (isShown(search) ? field : before)?.focus(), 200);
    });
}

// Enter on the checkbox of a row leads to the actions, which are behind all rows.
function leadToActions(event) {
    if (event.key !== "Enter" || !event.target.matches(".action-select, #action-toggle")) return;
    event.preventDefault();
    const actions = [...document.querySelectorAll("select[name=action]")].find(isShown);
    actions?.focus();
}

function closeColumns(event) {
    const details = event.key === "Escape" && event.target.closest(".xp-columns[open]");
    if (!details) return;
    details.open = false;
    details.querySelector("summary").focus();
}

// The first stop of a page: without it the whole menu is in the way.
function addSkipLink() {
    const main = document.querySelector("[role=main]");
    if (!main) return;
    main.tabIndex = -1;
    main.id ||= "main";
    const link = document.createElement("a");
    link.className = "xp-skip";
    link.href = `#${main.id}`;
    link.textContent = words.skip;
    link.addEventListener("click", (event) => {
        event.preventDefault();
        (document.querySelector("#content-main, #content") ?? main).scrollIntoView();
        main.focus({ preventScroll: true });
    });
    document.body.prepend(link);
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
    (document.querySelector("#main") ?? document.querySelector("#page"))?.setAttribute("role", "main");
    document.querySelectorAll(CLICKABLE).forEach(makeButton);
    for (const box of document.querySelectorAll(".simplebar-content-wrapper")) {
        box.ariaLabel = box.closest("nav") ? words.menu : words.table;
        if (!box.querySelector("table")) box.removeAttribute("role");
    }
    for (const table of document.querySelectorAll(".xp-table")) {
        if (table.scrollWidth > table.clientWidth) Object.assign(table, { tabIndex: 0, role: "region", ariaLabel: words.table });
    }
    document.querySelectorAll("select.select2-hidden-accessible").forEach(nameSuggestions);
    document.querySelectorAll("[x-show=openCommandResults]").forEach(keepSearchInside);
    document.querySelectorAll(".help-tooltip[aria-label]").forEach((hint) => hint.setAttribute("role", "img"));
    addSkipLink();
}

document.addEventListener("keydown", leadToActions);
document.addEventListener("keydown", closeColumns);

// After the scripts of the page, which make some of these parts when it has loaded.
window.addEventListener("load", () => setTimeout(nameParts));
