// External traffic in Marzban's dashboard. nginx puts this script into the page (deploy/nginx-marzban.conf).
"use strict";
(() => {
  const NAME = "xpert-external-traffic";
  // Beside this script, wherever the panel's own path is.
  const ENDPOINT = new URL("widget", document.currentScript.src).pathname;
  const PERIODS = [1, 7, 30];
  const POLL = 30_000;
  const SHOWN = 5;

  const TEXTS = {
    en: {
      title: "External servers", upload: "Upload", download: "Download", total: "Total", server: "Server", user: "User",
      period: "Period", day: "24 hours", days: "{n} days", nothing: "No traffic in this period.", more: "Show more", less: "Show fewer",
      own: "Traffic of your users", all: "Traffic of all users", users: "Users: {n}", servers: "Servers: {n}", open: "Open the panel",
      connected: "Handed over to Marzban", waiting: "Connected; nothing handed over yet", silent: "The node is not connected to Marzban",
      paused: "The hand-over is paused", "never-connected": "The node was never connected", none: "Not handed over to Marzban",
      unknown: "{size} may not have arrived in Marzban", busy: "The figures are not ready. Trying again…", units: ["B", "KB", "MB", "GB", "TB", "PB"],
    },
    ru: {
      title: "Внешние серверы", upload: "Отправлено", download: "Получено", total: "Всего", server: "Сервер", user: "Пользователь",
      period: "Период", day: "24 часа", days: "{n} дн.", nothing: "За этот период трафика нет.", more: "Показать больше", less: "Показать меньше",
      own: "Трафик ваших пользователей", all: "Трафик всех пользователей", users: "Пользователей: {n}", servers: "Серверов: {n}", open: "Открыть панель",
      connected: "Передано в Marzban", waiting: "Подключено; ещё ничего не передано", silent: "Узел не подключён к Marzban",
      paused: "Передача приостановлена", "never-connected": "Узел ещё не подключался", none: "В Marzban не передаётся",
      unknown: "{size} могли не дойти до Marzban", busy: "Данные не готовы. Повторяем…", units: ["Б", "КБ", "МБ", "ГБ", "ТБ", "ПБ"],
    },
    fa: {
      title: "سرورهای خارجی", upload: "آپلود", download: "دانلود", total: "مجموع", server: "سرور", user: "کاربر",
      period: "بازه", day: "۲۴ ساعت", days: "{n} روز", nothing: "در این بازه ترافیکی نیست.", more: "نمایش بیشتر", less: "نمایش کمتر",
      own: "ترافیک کاربران شما", all: "ترافیک همه کاربران", users: "کاربران: {n}", servers: "سرورها: {n}", open: "باز کردن پنل",
      connected: "به مرزبان تحویل داده شد", waiting: "متصل است؛ هنوز چیزی تحویل داده نشده", silent: "نود به مرزبان متصل نیست",
      paused: "تحویل متوقف شده است", "never-connected": "نود هنوز متصل نشده است", none: "به مرزبان تحویل داده نمی‌شود",
      unknown: "شاید {size} به مرزبان نرسیده باشد", busy: "داده‌ها آماده نیست. تلاش دوباره…", units: ["بایت", "کیلوبایت", "مگابایت", "گیگابایت", "ترابایت", "پتابایت"],
    },
    zh: {
      title: "外部服务器", upload: "上传", download: "下载", total: "总计", server: "服务器", user: "用户",
      period: "时段", day: "24 小时", days: "{n} 天", nothing: "此时段没有流量。", more: "显示更多", less: "收起",
      own: "您的用户的流量", all: "所有用户的流量", users: "用户：{n}", servers: "服务器：{n}", open: "打开面板",
      connected: "已交付给 Marzban", waiting: "已连接；尚未交付", silent: "节点未连接到 Marzban",
      paused: "交付已暂停", "never-connected": "节点从未连接", none: "未交付给 Marzban",
      unknown: "{size} 可能未到达 Marzban", busy: "数据尚未就绪，正在重试…", units: ["B", "KB", "MB", "GB", "TB", "PB"],
    },
  };

  const STYLE = `
    :host { display: block; margin-top: 16px; font-family: var(--chakra-fonts-body, Inter, sans-serif); }
    :host([hidden]) { display: none; }
    section {
      --accent: var(--chakra-colors-primary-500, #396fe4); --line: var(--chakra-colors-light-border, #d2d2d4); --quiet: #4a5568;
      --ok: #2f855a; --warn: #c05621; --pressed: #396fe4; --link: #2b5fd0;
      box-sizing: border-box; padding: 24px; border: 1px solid var(--line); border-radius: 12px; background: #f9fafb;
      color: var(--chakra-colors-chakra-body-text, #1a202c); font-size: 14px; line-height: 1.5;
    }
    section.dark {
      --accent: var(--chakra-colors-primary-400, #4d7de7); --line: var(--chakra-colors-gray-600, #4a5568); --quiet: #cbd5e0;
      --ok: #68d391; --warn: #f6ad55; --link: #90b4f5; background: var(--chakra-colors-gray-750, #222c3b);
      color: var(--chakra-colors-chakra-body-text, #e2e8f0);
    }
    header, footer { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; justify-content: space-between; }
    h2 { margin: 0; font-size: 16px; font-weight: 600; }
    .quiet { color: var(--quiet); }
    .figures { display: flex; flex-wrap: wrap; gap: 4px 32px; margin: 12px 0; }
    .figures div { display: flex; flex-direction: column; }
    .figures strong { font-size: 22px; font-weight: 600; }
    .periods { display: flex; gap: 4px; }
    button {
      padding: 4px 10px; border: 1px solid var(--line); border-radius: 6px; background: none; color: inherit; font: inherit;
      font-size: 12px; cursor: pointer;
    }
    button[aria-pressed="true"] { border-color: var(--pressed); background: var(--pressed); color: #fff; }
    button:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
    a { color: var(--link); }
    .scroll { overflow-x: auto; }
    table { width: 100%; border-collapse: collapse; margin: 8px 0 12px; }
    th { padding: 4px 8px; color: var(--quiet); font-size: 12px; font-weight: 600; text-align: start; white-space: nowrap; }
    td { padding: 6px 8px; border-top: 1px solid var(--line); white-space: nowrap; }
    th.number, td.number { text-align: end; font-variant-numeric: tabular-nums; }
    td:first-child { width: 100%; min-width: 160px; white-space: normal; overflow-wrap: anywhere; }
    .toggle { margin-bottom: 12px; }
    .bar { height: 4px; margin-top: 4px; border-radius: 2px; background: var(--accent); min-width: 2px; }
    .state { display: flex; gap: 8px; align-items: center; }
    .dot { flex: none; width: 8px; height: 8px; border-radius: 50%; background: var(--warn); }
    .connected .dot { background: var(--ok); }
    .none .dot { background: var(--quiet); }
    @media (max-width: 30em) {
      tr { display: grid; grid-template-columns: repeat(3, 1fr); border-top: 1px solid var(--line); }
      thead tr { border: 0; }
      th, td { padding: 4px 0; border: 0; }
      th:first-child, td:first-child { grid-column: 1 / -1; }
      th.number, td.number { text-align: start; }
    }
    .warning { color: var(--warn); }
  `;

  const stored = (key) => {
    try {
      return localStorage.getItem(key) || "";
    } catch {
      return ""; // storage is blocked
    }
  };
  const language = () => {
    const found = stored("i18nextLng").slice(0, 2).toLowerCase();
    return found in TEXTS ? found : "en";
  };
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  class ExternalTraffic extends HTMLElement {
    #root = this.attachShadow({ mode: "open" });
    #days = 30;
    #figures = null;
    #isBusy = false;
    #isWhole = false;
    #shown = "";
    #timer = 0;
    #asked = 0;

    constructor() {
      super();
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      this.#root.adoptedStyleSheets = [sheet];
    }

    connectedCallback() {
      this.hidden = !this.#figures;
      document.addEventListener("visibilitychange", this.#whenSeen);
      this.#ask();
    }

    disconnectedCallback() {
      document.removeEventListener("visibilitychange", this.#whenSeen);
      clearTimeout(this.#timer);
      this.#asked += 1; // the answer to an open question is for nobody
    }

    /** Draws again if the language or the colour mode has changed. */
    follow() {
      if (this.#look() !== this.#shown) this.#draw();
    }

    #whenSeen = () => {
      if (!document.hidden) this.#ask();
    };

    #look() {
      return `${language()} ${document.body.classList.contains("chakra-ui-dark")}`;
    }

    async #ask() {
      clearTimeout(this.#timer);
      const asked = (this.#asked += 1);
      const token = stored("token");
      if (!token || document.hidden) return;
      let wait = POLL;
      try {
        const answer = await fetch(`${ENDPOINT}?days=${this.#days}`, { headers: { Authorization: `Bearer ${token}` } });
        const figures = answer.ok ? await answer.json() : null;
        if (asked !== this.#asked) return;
        // Whoever is not signed in, or may not see anything, sees no card.
        const isRefused = [401, 403, 404].includes(answer.status);
        if (isRefused) this.#figures = null;
        const least = answer.ok || isRefused ? POLL : 5000;
        wait = Math.max(Number(answer.headers.get("Retry-After")) * 1000, least) || least;
        this.#isBusy = answer.status === 503;
        if (figures) this.#figures = figures;
      } catch {
        if (asked !== this.#asked) return;
        this.#isBusy = true;
      }
      this.#draw();
      this.#timer = setTimeout(() => this.#ask(), wait);
    }

    #draw() {
      this.#shown = this.#look();
      this.hidden = !this.#figures && !this.#isBusy;
      if (this.hidden) return this.#root.replaceChildren();
      const code = language();
      const texts = TEXTS[code];
      const section = element("section", { className: document.body.classList.contains("chakra-ui-dark") ? "dark" : "" });
      section.lang = code;
      section.dir = code === "fa" ? "rtl" : "ltr";
      section.setAttribute("aria-label", texts.title);
      section.append(this.#header(texts, code));
      if (this.#figures) section.append(...this.#body(texts, code));
      if (this.#isBusy) section.append(element("p", { className: "warning", textContent: texts.busy }));
      const focused = this.#root.activeElement?.dataset.key;
      this.#root.replaceChildren(section);
      if (focused) this.#root.querySelector(`[data-key="${focused}"]`)?.focus();
    }

    #header(texts, code) {
      const periods = element("div", { className: "periods" });
      periods.setAttribute("role", "group");
      periods.setAttribute("aria-label", texts.period);
      for (const days of PERIODS) {
        const name = days === 1 ? texts.day : filled(texts.days, { n: this.#number(days, code) });
        const button = element("button", { type: "button", textContent: name, onclick: () => this.#choose(days) });
        button.dataset.key = `days-${days}`;
        button.setAttribute("aria-pressed", String(days === this.#days));
        periods.append(button);
      }
      return element("header", {}, element("h2", { textContent: texts.title }), periods);
    }

    #choose(days) {
      this.#days = days;
      this.#draw();
      this.#ask();
    }

    #body(texts, code) {
      const { scope, users, servers, server_count: count, top_users: people } = this.#figures;
      const counted = [[texts.users, users], [texts.servers, count]].map(([text, n]) => filled(text, { n: this.#number(n, code) }));
      const said = [texts[scope], ...counted].join(" · ");
      const parts = [element("div", { className: "quiet", textContent: said }), this.#totals(texts, code)];
      if (servers.length) {
        const named = servers.map((each) => [`${this.#place(each)} ${each.protocol}`, each]);
        parts.push(this.#table(texts.server, named, texts, code));
      } else {
        parts.push(element("p", { textContent: texts.nothing }));
      }
      if (people.length) {
        const named = people.map((each) => [each.username, each]);
        parts.push(this.#table(texts.user, named, texts, code));
      }
      if (Math.max(servers.length, people.length) > SHOWN) parts.push(this.#toggle(texts));
      parts.push(this.#footer(texts, code));
      return parts;
    }

    #place({ server, port }) {
      return server.includes(":") ? `[${server}]:${port}` : `${server}:${port}`;
    }

    #totals(texts, code) {
      const { upload_bytes: up, download_bytes: down } = this.#figures;
      const figures = [[`↑ ${texts.upload}`, up], [`↓ ${texts.download}`, down], [texts.total, up + down]];
      return element("div", { className: "figures" }, ...figures.map(([name, bytes]) =>
        element("div", {}, element("span", { className: "quiet", textContent: name }),
          element("strong", { textContent: this.#size(bytes, texts, code) }))));
    }

    #table(first, rows, texts, code) {
      const most = Math.max(...rows.map(([, each]) => each.upload_bytes + each.download_bytes), 1);
      const head = [first, `↑ ${texts.upload}`, `↓ ${texts.download}`, texts.total].map((name, place) => {
        const cell = element("th", { textContent: name, scope: "col" });
        if (place) cell.className = "number";
        return cell;
      });
      const shown = this.#isWhole ? rows : rows.slice(0, SHOWN);
      const body = shown.map(([name, { upload_bytes: up, download_bytes: down }]) => {
        const bar = element("div", { className: "bar" });
        bar.style.width = `${((up + down) / most) * 100}%`;
        const numbers = [up, down, up + down].map((bytes) =>
          element("td", { className: "number", textContent: this.#size(bytes, texts, code) }));
        return element("tr", {}, element("td", {}, element("bdi", { dir: "ltr", textContent: name }), bar), ...numbers);
      });
      const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
      return element("div", { className: "scroll" }, table);
    }

    #toggle(texts) {
      const name = this.#isWhole ? texts.less : texts.more;
      const button = element("button", { type: "button", className: "toggle", textContent: name });
      button.dataset.key = "more";
      button.setAttribute("aria-expanded", String(this.#isWhole));
      button.onclick = () => {
        this.#isWhole = !this.#isWhole;
        this.#draw();
      };
      return button;
    }

    #footer(texts, code) {
      const { state, handed_over_at: at, unknown_bytes: unknown } = this.#figures.hand_over;
      let said = texts[state] ?? state;
      if (state === "connected") said = at ? `${texts.connected}: ${this.#ago(at, code)}` : texts.waiting;
      const shown = element("span", { className: `state ${state}` }, element("span", { className: "dot" }), said);
      const footer = element("footer", {}, shown);
      if (unknown) {
        const text = filled(texts.unknown, { size: this.#size(unknown, texts, code) });
        footer.append(element("span", { className: "warning", textContent: text }));
      }
      if (this.#figures.panel_url) {
        footer.append(element("a", { href: this.#figures.panel_url, target: "_blank", rel: "noopener", textContent: texts.open }));
      }
      return footer;
    }

    #number(value, code, digits = 0) {
      return new Intl.NumberFormat(code, { maximumFractionDigits: digits }).format(value);
    }

    #size(bytes, texts, code) {
      let [value, unit] = [bytes, 0];
      while (value >= 1024 && unit < texts.units.length - 1) [value, unit] = [value / 1024, unit + 1];
      const digits = !unit || value >= 100 ? 0 : value >= 10 ? 1 : 2;
      return `${this.#number(value, code, digits)} ${texts.units[unit]}`;
    }

    #ago(moment, code) {
      const seconds = Math.max(Math.round((Date.now() - Date.parse(moment)) / 1000), 0);
      const format = new Intl.RelativeTimeFormat(code, { numeric: "auto" });
      for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
        if (seconds >= size) return format.format(-Math.floor(seconds / size), unit);
      }
      return format.format(-seconds, "second");
    }
  }

  if (customElements.get(NAME)) return; // the script is in the page twice
  customElements.define(NAME, ExternalTraffic);
  const widget = document.createElement(NAME);

  // The page's own program draws and removes its parts as it likes.
  const mount = () => {
    const filters = document.getElementById("filters");
    if (filters && stored("token")) {
      if (filters.previousElementSibling !== widget) filters.before(widget);
      widget.follow();
    } else if (widget.isConnected) {
      widget.remove();
    }
  };
  new MutationObserver(mount).observe(document.getElementById("root") ?? document.body, { childList: true, subtree: true });
  new MutationObserver(mount).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  mount();
})();
