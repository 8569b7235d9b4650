// The Treasury page. It only reads: GET requests to its own origin, and text set as text.
(() => {
  "use strict";

  const REMEMBERED = "whitebit_treasury_connection";
  const HALF_DAY = 43_200;
  const EVERY_MS = 60_000;
  const SOON_MS = 2_000;
  const UNKNOWN = "—";

  const byId = (id) => document.getElementById(id);
  const state = { conn: "", days: 30, timer: 0, turn: 0, drawn: {}, charts: [], open: new Set() };

  // --- building

  function el(name, options = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "class") node.className = value;
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  function card(title, aside, ...content) {
    const head = el("div", { class: "head" }, el("h2", {}, title), aside ?? null);
    return el("div", { class: "card" }, head, ...content);
  }

  // Roles are written out because narrow screens lay tables out as blocks, and browsers then forget what they are.
  function table(caption, columns, rows, options = {}) {
    const pads = columns.map((column, at) => (column.num ? padding(rows.map((row) => row[at])) : null));
    const head = columns.map((column) =>
      el("th", { scope: "col", role: "columnheader", class: column.num ? "num" : null }, column.title),
    );
    const body = rows.map((row) =>
      el("tr", { role: "row" }, ...row.map((value, at) => cell(columns[at], value, pads[at], at === 0))),
    );
    return el(
      "table",
      { role: "table", class: options.stacks === false ? null : "stacks" },
      el("caption", {}, caption),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...head)),
      el("tbody", { role: "rowgroup" }, ...body),
    );
  }

  function cell(column, value, pad, first) {
    const options = {
      role: first ? "rowheader" : "cell",
      scope: first ? "row" : null,
      "data-label": column.title,
      class: column.num ? "num" : column.class,
    };
    const content = column.num ? number(value, pad) : Array.isArray(value) ? value : [value];
    return el(first ? "th" : "td", options, el("div", {}, ...content));
  }

  // --- numbers: exact decimal strings of the server, shown with at least two decimals and aligned at the point

  const amount = (text, unit) => ({ text: text === null || text === undefined ? null : grouped(text), unit });
  const rate = (text) => ({ text: percent(text), unit: text === null || text === undefined ? undefined : "%" });

  function grouped(text) {
    const [whole, fraction = ""] = text.split(".");
    return `${whole.replace(/\B(?=(\d{3})+$)/g, ",")}.${fraction.padEnd(2, "0")}`;
  }

  function percent(text) {
    return text === null || text === undefined ? null : (Number(text) * 100).toFixed(2);
  }

  const fractionOf = (value) => (value && value.text ? value.text.split(".")[1].length : 0);
  const padding = (values) => Math.max(0, ...values.map(fractionOf));

  function number(value, longest) {
    if (!value || value.text === null) return [el("span", { class: "unit" }, UNKNOWN)];
    const parts = [document.createTextNode(value.text)];
    const missing = longest - fractionOf(value);
    if (missing > 0) {
      const pad = el("span", { class: "fraction-pad", "aria-hidden": "true" });
      pad.style.paddingRight = `${missing}ch`;
      parts.push(pad);
    }
    if (value.unit) parts.push(el("span", { class: "unit" }, ` ${value.unit}`));
    return [el("span", { class: /[1-9]/.test(value.text) ? null : "zero" }, ...parts)];
  }

  // --- times, always UTC

  const time = (iso) => (iso ? iso.slice(0, 19).replace("T", " ") : UNKNOWN);
  const date = (iso) => (iso ? iso.slice(0, 10) : UNKNOWN);

  // --- what things are called

  const OPERATIONS = {
    flex_invest: "Flex invest",
    flex_withdraw: "Flex withdraw",
    flex_close: "Flex close",
    fixed_invest: "Fixed invest",
    fixed_close: "Fixed close",
    transfer: "Transfer",
  };
  const operation = (name) => OPERATIONS[name] ?? name ?? "unknown";
  const whole = (id) => (id ? el("code", {}, id) : UNKNOWN);
  const short = (id) => (id && id.length > 13 ? el("span", { title: id }, `${id.slice(0, 8)}…`) : (id ?? UNKNOWN));

  function where(move, shown = short) {
    return move.source ? `${move.source} to ${move.target}` : shown(move.plan_id);
  }

  function taskLink(task) {
    const mapped = task.map_index >= 0 ? ` [${task.map_index}]` : "";
    const link = el("a", { href: `../${task.page}`, target: "_top" }, `${task.dag_id}.${task.task_id}${mapped}`);
    link.addEventListener("click", leave);
    return [link, el("span", { class: "sub" }, task.run_id)];
  }

  // Airflow shows this page in a frame that may not lead its window elsewhere: the window's own document may.
  function leave(event) {
    if (window.parent === window) return;
    let outside;
    try {
      outside = window.parent.document;
    } catch {
      return;
    }
    event.preventDefault();
    const link = outside.createElement("a");
    link.href = event.currentTarget.href;
    if (event.ctrlKey || event.metaKey || event.shiftKey) link.target = "_blank";
    link.click();
  }

  // --- sections

  function doubts(known) {
    if (!known) return [];
    const elsewhere = known.states_elsewhere
      ? el(
          "p",
          { class: "note" },
          el("strong", {}, "Doubts cannot be looked for here. "),
          "Task states are kept in a store of your own ([state_store] backend).",
        )
      : null;
    if (known.doubts.length === 0) {
      return elsewhere ? [elsewhere] : [el("p", { class: "settled" }, "No move is in doubt.")];
    }
    const count = known.doubts.length;
    const columns = [
      { title: "Operation" },
      { title: "Amount", num: true },
      { title: "Plan" },
      { title: "Sent", class: "when" },
      { title: "Task and run" },
      { title: "Journal entry" },
    ];
    const rows = known.doubts.map((doubt) => [
      [operation(doubt.operation), ...notes(doubt)],
      amount(doubt.amount, doubt.ticker),
      where(doubt, whole),
      [time(doubt.sent_at), doubt.attempts > 1 ? el("span", { class: "sub" }, `${doubt.attempts} attempts`) : null],
      taskLink(doubt.task),
      [el("code", {}, doubt.key), el("span", { class: "sub" }, doubt.kept_in)],
    ]);
    const box = el(
      "div",
      { class: "doubts", role: "alert" },
      el("h2", {}, count === 1 ? "1 move is in doubt" : `${count} moves are in doubt`),
      el("p", { class: "lead" }, "Money may have moved. Nothing more is sent until a person has looked:"),
      table("Moves in doubt", columns, rows),
      whatToDo(),
    );
    return [elsewhere, box];
  }

  function notes(doubt) {
    const found = [];
    if (doubt.ours === false) found.push(el("span", { class: "tag warn" }, "other connection, or an earlier key"));
    if (doubt.unreadable) found.push(el("span", { class: "sub" }, doubt.unreadable));
    return found.flatMap((note) => [" ", note]);
  }

  function whatToDo() {
    return el(
      "ol",
      {},
      el(
        "li",
        {},
        "The task's log names the transactions that may be this move. Look for each of them in the receipts of your " +
          "other tasks (below, and in XCom), and ask whoever else moves money in that account.",
      ),
      el("li", {}, "If one is left over, it is this move: mark the task as success."),
      el(
        "li",
        {},
        "If none is left over, the move did not run: delete the journal entry, then clear the task. Moving again " +
          "without having looked can move the money twice.",
      ),
    );
  }

  function trouble(exchange) {
    if (!exchange) return [];
    if (exchange.error) {
      return [
        el(
          "div",
          { class: "note" },
          el("strong", {}, "The account cannot be shown. "),
          exchange.error,
          " What Airflow itself knows is below.",
        ),
      ];
    }
    if (exchange.problems.length === 0) return [];
    const items = exchange.problems.map((problem) => el("li", {}, el("strong", {}, `${problem.what}: `), problem.text));
    return [el("div", { class: "note" }, "Not everything could be asked.", el("ul", {}, ...items))];
  }

  function positions(exchange) {
    if (!exchange || exchange.error) return [];
    const columns = [
      { title: "Asset" },
      { title: "Idle in Main", num: true },
      { title: "Flex", num: true },
      { title: "Fixed", num: true },
      { title: "Total", num: true },
      { title: "At work" },
      { title: `Earned, ${state.days} days`, num: true },
      { title: `Realised, ${state.days} days`, num: true },
      { title: "Best max. rate", num: true },
    ];
    const rows = exchange.positions.map((line) => {
      const shown = line.windows[state.days];
      return [
        line.ticker,
        amount(line.idle),
        amount(line.flex),
        amount(line.fixed),
        amount(line.total),
        share(line),
        amount(shown.earned),
        rate(shown.realised_rate),
        rate(line.best_rate),
      ];
    });
    const legend = el(
      "span",
      { class: "muted" },
      el("i", { class: "key flex" }),
      "Flex",
      el("i", { class: "key fixed" }),
      "Fixed",
      el("i", { class: "key idle" }),
      "idle",
    );
    const content = rows.length
      ? table("Position by asset", columns, rows)
      : el("p", { class: "quiet" }, "There is nothing in this account.");
    return [card("Position", legend, content)];
  }

  function share(line) {
    if (line.total === null || line.at_work === null) return UNKNOWN;
    const bar = el("span", { class: "share", "aria-hidden": "true" });
    for (const part of ["flex", "fixed"]) {
      const piece = el("i", { class: part });
      piece.style.width = `${(100 * Number(line[part])) / Number(line.total)}%`;
      bar.append(piece);
    }
    return el("span", { class: "work" }, bar, el("span", { class: "unit" }, `${(100 * Number(line.at_work)).toFixed(0)} %`));
  }

  function flex(exchange) {
    if (!exchange || !exchange.flex) return [];
    const columns = [
      { title: "Asset" },
      { title: "Plan" },
      { title: "Invested", num: true },
      { title: "Max. rate", num: true },
      { title: `Realised, ${state.days} days`, num: true },
      { title: `Earned, ${state.days} days`, num: true },
      { title: "Auto-reinvest" },
      { title: "Since", class: "when" },
    ];
    const rows = exchange.flex.map((held) => [
      held.ticker,
      [whole(held.plan_id), ...(held.on_offer === false ? [" ", el("span", { class: "tag" }, "not on offer")] : [])],
      amount(held.invested),
      rate(held.max_rate),
      rate(held.windows[state.days].realised_rate),
      amount(held.windows[state.days].earned),
      held.with_auto_reinvest ? "on" : "off",
      date(held.since),
    ]);
    const content = rows.length
      ? table("Active Flex investments by plan", columns, rows)
      : el("p", { class: "quiet" }, "No Flex investment is active.");
    return [card("Flex investments", null, content)];
  }

  function fixed(exchange) {
    if (!exchange || !exchange.fixed) return [];
    const columns = [
      { title: "Asset" },
      { title: "Plan" },
      { title: "Amount", num: true },
      { title: "For the term", num: true },
      { title: "A year", num: true },
      { title: "Interest at the end", num: true },
      { title: "Began", class: "when" },
      { title: "Ends", class: "when" },
    ];
    const rows = exchange.fixed.map((held) => [
      held.ticker,
      whole(held.plan_id),
      amount(held.amount),
      { text: Number(held.percent).toFixed(2), unit: "%" },
      rate(held.yearly_rate),
      amount(held.interest, held.interest_ticker),
      date(held.began),
      [time(held.ends).slice(0, 16), " ", el("span", { class: "unit" }, daysLeft(held.days_left))],
    ]);
    const content = rows.length
      ? table("Active Fixed investments by end", columns, rows)
      : el("p", { class: "quiet" }, "No Fixed investment is active.");
    return [card("Fixed investments", null, content)];
  }

  function daysLeft(days) {
    if (days === null) return "";
    if (days < 0) return "due";
    return days === 0 ? "within a day" : `in ${days} ${days === 1 ? "day" : "days"}`;
  }

  function moves(known) {
    if (!known) return [];
    if (known.moves === null) {
      return [card("Last moves", null, el("p", { class: "quiet" }, "You may not read Airflow's assets."))];
    }
    const columns = [
      { title: "Executed", class: "when" },
      { title: "Operation" },
      { title: "Amount", num: true },
      { title: "Asset" },
      { title: "Plan" },
      { title: "Transaction" },
      { title: "Task and run" },
    ];
    const rows = known.moves.map((move) => [
      time(move.executed_at ?? move.told_at),
      [operation(move.operation), ...(move.reconciled ? [" ", reconciled()] : [])],
      amount(move.amount),
      move.ticker ?? UNKNOWN,
      where(move),
      short(move.transaction_id ?? move.investment_id),
      taskLink(move.task),
    ]);
    const content = rows.length
      ? table("Last moves made by Airflow's tasks", columns, rows)
      : el("p", { class: "quiet" }, "No task of a DAG that you may read has told of a move with this connection.");
    return [card("Last moves", el("span", { class: "muted" }, "receipts of Airflow's tasks"), content)];
  }

  function reconciled() {
    return el("span", { class: "tag", title: "The answer was lost; found in the exchange's records" }, "reconciled");
  }

  // --- earnings

  function earnings(exchange) {
    if (!exchange || !exchange.earnings) return [];
    const tickers = Object.keys(exchange.earnings.by_ticker);
    const content = tickers.length
      ? el("div", { class: "charts" }, ...tickers.map((ticker) => chart(ticker, exchange.earnings)))
      : el("p", { class: "quiet" }, "Nothing was credited in the last 90 days.");
    return [card("Flex earnings a day", windows(), content)];
  }

  function windows() {
    const buttons = [30, 90].map((days) => {
      const button = el("button", { type: "button", "aria-pressed": String(days === state.days) }, `${days} days`);
      button.addEventListener("click", () => showDays(days));
      return button;
    });
    return el("div", { class: "switch", role: "group", "aria-label": "Days shown" }, ...buttons);
  }

  function showDays(days) {
    state.days = days;
    draw(state.latest, true);
    document.querySelector('.switch button[aria-pressed="true"]')?.focus();
  }

  function chart(ticker, all) {
    const days = all.days.slice(-state.days);
    const amounts = all.by_ticker[ticker].slice(-state.days);
    const total = `${grouped(all.totals[ticker][state.days])} in ${state.days} days`;
    const readout = el("span", { class: "readout" }, total);
    const told = `${ticker} earned by day: ${total}. Every day's figure is in the table below.`;
    const plot = el("div", { class: "plot", role: "img", "aria-label": told });
    state.charts.push({ plot, days, amounts, total, readout });
    return el("div", { class: "chart" }, el("h3", {}, ticker, readout), plot, figures(ticker, days, amounts));
  }

  function figures(ticker, days, amounts) {
    const rows = days.map((day, at) => [day, amount(amounts[at])]).reverse();
    const columns = [{ title: "Day" }, { title: ticker, num: true }];
    const inside = el("div", { class: "figures", tabindex: "0", role: "region", "aria-label": `${ticker} by day` });
    inside.append(table(`${ticker} earned by day`, columns, rows, { stacks: false }));
    const details = el("details", { open: state.open.has(ticker) }, el("summary", {}, "Figures"), inside);
    details.addEventListener("toggle", () => state.open[details.open ? "add" : "delete"](ticker));
    return details;
  }

  function plotAll() {
    for (const chart of state.charts) {
      chart.drawn?.destroy();
      chart.drawn = plotOne(chart);
    }
  }

  function plotOne({ plot, days, amounts, total, readout }) {
    const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: color("--muted"), font: "11px system-ui, sans-serif", ticks: { show: false } };
    const options = {
      width: Math.max(120, plot.clientWidth),
      height: 132,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: {
        x: { range: (_, first, last) => [first - HALF_DAY, last + HALF_DAY] },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 24, space: 64, values: (_, splits) => splits.map(dayLabel) },
        { ...axis, grid: { stroke: color("--line"), width: 1 }, size: yWidth, space: 34, values: yLabels },
      ],
      series: [
        {},
        { fill: color("--bar"), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 22] }) },
      ],
      hooks: {
        setCursor: [
          (shown) => {
            const at = shown.cursor.idx;
            const here = at !== null && at !== undefined && shown.cursor.left >= 0;
            readout.textContent = here ? `${days[at]}: ${grouped(amounts[at])}` : total;
          },
        ],
      },
    };
    const seconds = days.map((day) => Date.parse(`${day}T00:00:00Z`) / 1000);
    return new uPlot(options, [seconds, amounts.map(Number)], plot);
  }

  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

  function dayLabel(seconds) {
    const day = new Date(seconds * 1000);
    return `${day.getUTCDate()} ${MONTHS[day.getUTCMonth()]}`;
  }

  // As many decimals as tell neighbouring lines apart: a day's earning in BTC has many zeros.
  function yLabels(_, splits) {
    const step = splits.length > 1 ? splits[1] - splits[0] : 1;
    const wanted = (isRound(step) ? 0 : 1) - Math.floor(Math.log10(step) + 1e-9);
    const decimals = Math.max(0, Math.min(8, wanted));
    return splits.map((value) => (value === 0 ? "0" : value.toFixed(decimals)));
  }

  function isRound(step) {
    return /^[1-9](\.0*)?e/.test(step.toExponential(3));
  }

  function yWidth(_, values) {
    return 14 + 6.2 * Math.max(1, ...(values ?? []).map((value) => String(value).length));
  }

  // --- drawing what has changed

  function fill(name, data, build) {
    const key = JSON.stringify(data ?? null);
    if (state.drawn[name] === key) return false;
    state.drawn[name] = key;
    byId(name).replaceChildren(...build().filter(Boolean));
    return true;
  }

  function draw(answer, again = false) {
    if (!answer) return;
    if (again) state.drawn = {};
    state.latest = answer;
    const { exchange, airflow } = answer;
    const lists = exchange ?? {};
    about(exchange);
    fill("doubts", { ...airflow, moves: null }, () => doubts(airflow));
    fill("trouble", [lists.error, lists.problems], () => trouble(exchange));
    fill("positions", [lists.error, lists.positions], () => positions(exchange));
    fill("flex", lists.flex, () => flex(exchange));
    fill("fixed", lists.fixed, () => fixed(exchange));
    fill("moves", airflow?.moves, () => moves(airflow));
    drawEarnings(exchange);
  }

  function drawEarnings(exchange) {
    const before = state.charts;
    const changed = fill("earnings", exchange?.earnings, () => {
      state.charts = [];
      return earnings(exchange);
    });
    if (!changed) return;
    for (const chart of before) chart.drawn?.destroy();
    plotAll();
  }

  function about(exchange) {
    const line = byId("about");
    if (!exchange?.host) return line.replaceChildren();
    line.replaceChildren(`${exchange.host} · ${exchange.limits}`);
  }

  function say(text) {
    byId("status").textContent = text;
  }

  // --- asking

  async function fetchJson(path) {
    const answer = await fetch(path, { headers: { Accept: "application/json" }, credentials: "same-origin" });
    if (answer.ok) return answer.json();
    if (answer.status === 401) throw new Error("You are not logged in to Airflow any more: log in, and refresh.");
    const body = await answer.json().catch(() => ({}));
    const why = typeof body.detail === "string" ? body.detail : `Airflow answered ${answer.status}.`;
    throw Object.assign(new Error(why), { refused: answer.status === 403 });
  }

  async function refresh() {
    clearTimeout(state.timer);
    const turn = ++state.turn;
    document.body.classList.add("busy");
    let next = EVERY_MS;
    try {
      const answer = await fetchJson(`api/treasury?conn_id=${encodeURIComponent(state.conn)}`);
      if (turn !== state.turn) return;
      draw(answer);
      const asked = answer.exchange !== null;
      if (!asked) next = SOON_MS;
      const asOf = answer.exchange?.as_of;
      say(!asked ? "The exchange is being asked …" : asOf ? `As of ${time(asOf)} UTC` : `Looked at ${now()} UTC`);
    } catch (error) {
      if (turn !== state.turn) return;
      if (error.refused) clear();
      const kept = state.latest ? " What is shown is older." : "";
      say(`${error.message}${kept}`);
    } finally {
      if (turn === state.turn) {
        document.body.classList.remove("busy");
        state.timer = setTimeout(refreshIfSeen, next);
      }
    }
  }

  const now = () => time(new Date().toISOString());

  function refreshIfSeen() {
    if (document.hidden) state.timer = setTimeout(refreshIfSeen, EVERY_MS);
    else refresh();
  }

  function clear() {
    state.latest = null;
    state.drawn = {};
    state.charts = [];
    byId("about").replaceChildren();
    for (const name of ["doubts", "trouble", "positions", "earnings", "flex", "fixed", "moves"]) {
      byId(name).replaceChildren();
    }
  }

  function choose(conn) {
    state.conn = conn.trim();
    byId("connection").value = state.conn;
    remember(state.conn);
    clear();
    say("Asking the exchange …");
    refresh();
  }

  function remember(conn) {
    try {
      localStorage.setItem(REMEMBERED, conn);
    } catch {
      // A browser may forbid it; then nothing is remembered.
    }
  }

  function remembered() {
    try {
      return localStorage.getItem(REMEMBERED);
    } catch {
      return null;
    }
  }

  async function begin() {
    followTheme();
    byId("choose").addEventListener("submit", (event) => {
      event.preventDefault();
      choose(byId("connection").value);
    });
    byId("refresh").addEventListener("click", () => refresh());
    let resized = 0;
    window.addEventListener("resize", () => {
      clearTimeout(resized);
      resized = setTimeout(plotAll, 150);
    });
    const listed = await fetchJson("api/connections").catch((error) => (say(error.message), null));
    const all = listed ? [...new Set([...listed.connections, listed.default])] : [];
    byId("connections").replaceChildren(...all.map((conn) => el("option", { value: conn })));
    const wanted = new URLSearchParams(location.search).get("conn_id") ?? remembered();
    choose(wanted || listed?.default || "whitebit_default");
  }

  // --- light and dark: as Airflow has it, else as the system has it

  function followTheme() {
    const system = matchMedia("(prefers-color-scheme: dark)");
    let outside = null;
    try {
      if (window.parent !== window) outside = window.parent.document.documentElement;
    } catch {
      // Another origin's frame: then the system decides.
    }
    const apply = () => {
      const named = outside && ["dark", "light"].find((theme) => outside.classList.contains(theme));
      const theme = named ?? (system.matches ? "dark" : "light");
      if (document.documentElement.dataset.theme === theme) return;
      document.documentElement.dataset.theme = theme;
      plotAll();
    };
    apply();
    system.addEventListener("change", apply);
    if (outside) new MutationObserver(apply).observe(outside, { attributes: true, attributeFilter: ["class"] });
  }

  begin();
})();
