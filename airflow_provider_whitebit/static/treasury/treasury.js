// The Treasury page. It sends requests to its own origin only, and inserts text as text. Only orders change anything.
(() => {
  "use strict";

  const STORED_CONNECTIONS = "whitebit_treasury_connections";
  const STORED_CURRENCY = "whitebit_treasury_value_in";
  const SECTIONS = "switch doubts trouble positions values limits earnings forecast flex fixed plans moves".split(" ");
  // Currencies that are offered for values; the address may name any other.
  const CURRENCIES = ["USDT", "USDC", "EUR", "UAH", "BTC", "ETH"];
  // Most connections that are listed at once, and most that are shown together.
  const MOST_LISTED = 200;
  const MOST_SHOWN = 20;
  const HALF_DAY = 43_200;
  const REFRESH_MS = 60_000;
  const RETRY_MS = 2_000;
  // Longest wait for an answer. With many viewers, a request waits for its turn.
  const LONGEST_MS = 120_000;
  const UNKNOWN = "—";

  const byId = (id) => document.getElementById(id);
  // The connections that are shown, those that are listed, and those that are ticked in the list.
  const chosen = { shown: [], listed: [], ticked: new Set(), valueIn: "" };
  const state = { days: 30, timer: 0, due: 0, request: null, latest: null, drawn: {}, charts: [], open: new Map() };
  // The form that is open: stop, resume, or none.
  state.order = null;

  // --- HTML elements

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

  // What a screen reader reads out, without what is below it: that changes while it is used.
  const announced = (...children) => el("div", { role: "alert" }, ...children);
  const quiet = (text) => el("p", { class: "quiet" }, text);
  const code = (id) => (id ? el("code", {}, id) : UNKNOWN);
  const short = (id) => (id && id.length > 13 ? el("span", { title: id }, `${id.slice(0, 8)}…`) : (id ?? UNKNOWN));

  function card(title, aside, content) {
    const parts = [content].flat();
    return el("div", { class: "card" }, el("div", { class: "head" }, el("h2", {}, title), aside), ...parts);
  }

  // A column has a title and a function that returns the content of its cell. Numbers are aligned at the point.
  const column = (title, content, name) => ({ title, content, class: name });
  const numbers = (title, content) => ({ title, content, class: "num", num: true });

  // Roles are explicit because browsers forget them when narrow screens show table rows as blocks.
  function table(caption, columns, records, name = "stacks") {
    const values = columns.map(({ content }) => records.map(content));
    const decimals = values.map((cells, at) => (columns[at].num ? Math.max(0, ...cells.map(decimalsOf)) : 0));
    const head = columns.map((one) => el("th", { scope: "col", role: "columnheader", class: one.class }, one.title));
    const body = records.map((_, row) =>
      el("tr", { role: "row" }, ...columns.map((one, at) => cell(one, values[at][row], decimals[at], at === 0))),
    );
    return el(
      "table",
      { role: "table", class: name },
      el("caption", {}, caption),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...head)),
      el("tbody", { role: "rowgroup" }, ...body),
    );
  }

  function tableOr(empty, caption, columns, records) {
    return records.length ? table(caption, columns, records) : quiet(empty);
  }

  function cell({ title, num, class: name }, value, decimals, first) {
    const role = first ? { role: "rowheader", scope: "row" } : { role: "cell" };
    const content = num ? number(value, decimals) : [value].flat();
    return el(first ? "th" : "td", { ...role, "data-label": title, class: name }, el("div", {}, ...content));
  }

  // --- numbers: exact decimal strings from the server, shown with at least two decimals

  const missing = (text) => text === null || text === undefined;
  const amount = (text, unit) => ({ text: missing(text) ? null : grouped(text), unit });
  const percent = (value) => ({ text: value.toFixed(2), unit: "%" });
  const rate = (text) => (missing(text) ? null : percent(Number(text) * 100));
  const knownRate = (text, factor = 100) => (missing(text) ? { text: "unknown" } : percent(Number(text) * factor));
  const decimalsOf = (value) => value?.text?.split(".")[1]?.length ?? 0;

  function grouped(text) {
    const [whole, fraction = ""] = text.split(".");
    return `${whole.replace(/\B(?=(\d{3})+$)/g, ",")}.${fraction.padEnd(2, "0")}`;
  }

  function number(value, decimals) {
    if (!value || value.text === null) return [el("span", { class: "unit" }, UNKNOWN)];
    const pad = el("span", { class: "fraction-pad", "aria-hidden": "true" });
    pad.style.paddingRight = `${decimals - decimalsOf(value)}ch`;
    const unit = value.unit ? el("span", { class: "unit" }, ` ${value.unit}`) : null;
    return [el("span", { class: /^[-0.,]*$/.test(value.text) ? "zero" : null }, value.text, pad, unit)];
  }

  // --- times, always UTC

  const time = (iso) => (iso ? iso.slice(0, 19).replace("T", " ") : UNKNOWN);
  const date = (iso) => (iso ? iso.slice(0, 10) : UNKNOWN);

  // --- moves and their tasks

  const OPERATIONS = {
    flex_invest: "Flex invest",
    flex_withdraw: "Flex withdraw",
    flex_close: "Flex close",
    fixed_invest: "Fixed invest",
    fixed_close: "Fixed close",
    transfer: "Transfer",
    sub_account_transfer: "Sub-account transfer",
  };
  const operation = (name) => OPERATIONS[name] ?? name ?? "unknown";
  const route = (move, shown) =>
    move.source ? `${move.source} to ${move.target} ${move.sub_account_id ?? ""}`.trim() : shown(move.plan_id);

  function taskLink(task) {
    const mapped = task.map_index >= 0 ? ` [${task.map_index}]` : "";
    const link = el("a", { href: `../${task.page}`, target: "_top" }, `${task.dag_id}.${task.task_id}${mapped}`);
    link.addEventListener("click", leaveFrame);
    return [link, el("span", { class: "sub" }, task.run_id)];
  }

  // Airflow's frame does not allow this page to navigate the window. The window's own document may.
  function leaveFrame(event) {
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

  // --- sections: each returns its elements

  function doubts(known) {
    if (!known) return [];
    if (known.doubts.length > 0) return [doubtBox(known.doubts)];
    return [el("p", { class: "good" }, "No move that you may see is in doubt.")];
  }

  function doubtBox(all) {
    const bySteps = new Map();
    for (const doubt of all) {
      const key = JSON.stringify(doubt.steps);
      bySteps.set(key, [...(bySteps.get(key) ?? []), doubt]);
    }
    return el(
      "div",
      { class: "doubts" },
      announced(
        el("h2", {}, all.length === 1 ? "1 move is in doubt" : `${all.length} moves are in doubt`),
        el("p", {}, "Money may have moved. Follow the steps below, in order."),
      ),
      ...[...bySteps.values()].flatMap(doubtGroup),
    );
  }

  function doubtGroup(group) {
    const evidence = group.map(oneDoubt.evidence).filter(Boolean);
    return [doubtTable(group), ...evidence, numbered(group[0].steps)];
  }

  function doubtTable(group) {
    const columns = [
      column("Operation", (doubt) => [operation(doubt.operation), ...doubtNotes(doubt)]),
      numbers("Amount", (doubt) => amount(doubt.amount, doubt.ticker)),
      column("Plan or route", (doubt) => route(doubt, code)),
      column("Sent", (doubt) => [time(doubt.sent_at), sub(doubt.attempts > 1 && `${doubt.attempts} attempts`)], "when"),
      column("Task and run", (doubt) => taskLink(doubt.task)),
      column("Journal entries", (doubt) => [code(doubt.key), sub(whichVariables(doubt))]),
    ];
    return table("Moves in doubt", columns, group);
  }

  const whichVariables = ({ key }) => key.startsWith("whitebit_") && "all Variables whose names begin with this";
  const sub = (text) => (text ? el("span", { class: "sub" }, text) : null);
  const numbered = (steps) => el("ol", {}, ...steps.map((step) => el("li", {}, step)));

  function doubtNotes(doubt) {
    const other = doubt.ours === false ? el("span", { class: "tag warn" }, "another connection or an old key") : null;
    return [" ", other, sub(doubt.unreadable)];
  }

  // The switch for all moves. Users who may not use it see only what others have ordered.
  const ORDERS = {
    stop: {
      open: "Stop all moves …",
      submit: "Stop all moves",
      effect: "For all connections. Running tasks notice it before their next move. They fail with your reason.",
    },
    resume: {
      open: "Resume …",
      submit: "Let moves go on",
      effect: "For all connections. Tasks that were refused meanwhile have to be cleared.",
    },
  };

  function switchBox(known) {
    if (!known) return [];
    const { stop, configuration, may_switch: may } = known;
    const title = el("strong", {}, "No move is sent. ");
    const shown = configuration ? [el("p", { class: "note" }, title, configuration)] : [];
    const order = stop ? "resume" : "stop";
    const controls = may ? [state.order === order ? orderForm(order, stop) : orderButton(order)] : [];
    if (stop) shown.push(stoppedBox(stop, controls));
    else if (may) shown.push(el("div", { class: "order" }, ...controls));
    return shown;
  }

  function stoppedBox(stop, controls) {
    const since = stop.at ? `Since ${time(stop.at)} UTC, ` : "";
    return el(
      "div",
      { class: "doubts" },
      announced(el("h2", {}, "All moves are stopped"), el("p", {}, `${since}by ${stop.by}: ${stop.reason}`)),
      el("p", { class: "sub" }, "What was sent before is still reconciled. Tasks that want to move money fail."),
      ...controls,
    );
  }

  function orderButton(order) {
    const button = el("button", { type: "button", id: "order" }, ORDERS[order].open);
    button.addEventListener("click", () => openOrder(order));
    return button;
  }

  function orderForm(order, stop) {
    const { submit, effect } = ORDERS[order];
    const field = (id, label, name, maxlength) => {
      const input = el("input", { id, name, maxlength, autocomplete: "off", spellcheck: "false", required: true });
      return el("div", {}, el("label", { for: id }, label), input);
    };
    const cancel = el("button", { type: "button" }, "Cancel");
    const form = el(
      "form",
      { class: "order", "aria-label": submit },
      el("p", {}, effect),
      field("order-reason", "Reason", "reason", "1000"),
      field("order-confirm", `Type ${order} to confirm`, "confirm", "20"),
      el("button", { type: "submit", class: "danger" }, submit),
      cancel,
      el("p", { id: "order-error", role: "alert" }),
    );
    cancel.addEventListener("click", () => openOrder(null));
    form.addEventListener("keydown", (event) => event.key === "Escape" && openOrder(null));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(order, form, stop);
    });
    return form;
  }

  function openOrder(order) {
    state.order = order;
    draw();
    byId(order ? "order-reason" : "order")?.focus();
  }

  async function send(order, form, stop) {
    const given = Object.fromEntries(new FormData(form));
    const submit = form.querySelector('button[type="submit"]');
    submit.disabled = true;
    const attempt = (state.attempt = {});
    try {
      const { stop: now } = await fetchJson(`api/${order}`, order === "resume" ? { ...given, seen: stop } : given);
      // Shown at once: to load the accounts again can take seconds.
      if (state.latest?.switch) state.latest.switch.stop = now;
      openOrder(null);
      refresh();
    } catch (error) {
      submit.disabled = false;
      // Another user's order may have removed the form.
      const tell = () => ((byId("order-error") ?? byId("status")).textContent = error.message);
      tell();
      await refresh();
      if (state.attempt === attempt) tell();
    }
  }

  // What is wrong with each account, and what to note about it.
  function trouble(accounts) {
    const several = accounts.length > 1;
    return accounts.flatMap(({ conn_id: conn, exchange }) => {
      if (!exchange) return [];
      const name = several ? `${conn}: ` : "";
      return [problemsOf(exchange, name), ...warnings(exchange, name)].filter(Boolean);
    });
  }

  function problemsOf({ error, problems }, name) {
    if (!error && problems.length === 0) return null;
    const effect = error ? "The account cannot be shown." : "Some data could not be loaded.";
    const maintenance = [error, ...problems].some((one) => one?.maintenance);
    const title = maintenance ? "The exchange is in maintenance." : effect;
    const content = error
      ? [...facts(maintenance ? { ...error, message: effect } : error), sub("The data from Airflow itself is below.")]
      : [el("ul", {}, ...problems.map((one) => el("li", {}, el("strong", {}, `${one.what}: `), ...facts(one))))];
    return el("div", { class: "note" }, el("strong", {}, name + title), ...content);
  }

  function warnings({ warnings: texts = [] }, name) {
    if (texts.length === 0) return [];
    const list = el("ul", {}, ...texts.map((text) => el("li", {}, text)));
    return [el("div", { class: "note" }, el("strong", {}, `${name}Please note.`), list)];
  }

  // The facts of an error, one on each line.
  function facts({ message, said, next_steps: steps = [] }) {
    const lines = [message, said && `The exchange said: ${said}`, ...steps.map((step) => `Next step: ${step}`)];
    return lines.filter(Boolean).map((line) => el("span", { class: "fact" }, line));
  }

  // The earnings in the window of days that the viewer chose.
  const windowColumns = () => ({
    earned: numbers(`Earned, ${state.days} days`, (held) => amount(held.windows[state.days].earned)),
    realised: numbers(`Realised, ${state.days} days`, (held) => rate(held.windows[state.days].realised_rate)),
  });

  // The lines of one list of all accounts, each with its connection; null if no account has the list.
  function merged(accounts, list) {
    const known = accounts.filter(({ exchange }) => exchange?.[list]);
    if (known.length === 0) return null;
    return known.flatMap(({ conn_id: conn, exchange }) => exchange[list].map((one) => ({ ...one, conn })));
  }

  // A column that only several connections need.
  const connection = (accounts) => (accounts.length > 1 ? [column("Connection", (one) => one.conn)] : []);

  function positions({ accounts, sums }) {
    const lines = merged(accounts, "positions");
    if (!lines) return [];
    const { earned, realised } = windowColumns();
    const asset = column("Asset", (line) => line.ticker);
    const amounts = [
      numbers("Idle in Main", (line) => amount(line.idle)),
      numbers("Flex", (line) => amount(line.flex)),
      numbers("Fixed", (line) => amount(line.fixed)),
      numbers("Total", (line) => amount(line.total)),
    ];
    const invested = column("Invested", share);
    const best = numbers("Best max. rate", (line) => knownRate(line.best_rate));
    if (!sums) {
      const columns = [asset, ...amounts, invested, earned, realised, best];
      return [card("Position", legend(), tableOr("The account is empty.", "Position by asset", columns, lines))];
    }
    const empty = "These accounts are empty.";
    const all = tableOr(empty, "Position by asset", [asset, ...amounts, invested, earned], sums.positions);
    const each = [asset, ...connection(accounts), ...amounts, earned, realised];
    const byAsset = [...lines].sort((a, b) => order(a.ticker, b.ticker));
    const count = sums.counted.length;
    const title = `Position, ${count === 1 ? "1 connection" : `sum of ${count} connections`}`;
    return [
      card(title, legend(), [leftOut(sums.left_out), all].filter(Boolean)),
      card("Position by connection", null, tableOr(empty, "Position by connection", each, byAsset)),
    ];
  }

  function legend() {
    const key = (name) => [el("i", { class: `key ${name.toLowerCase()}` }), name];
    return el("span", { class: "muted" }, ...["Flex", "Fixed", "Idle"].flatMap(key));
  }

  function leftOut(connections) {
    if (connections.length === 0) return null;
    const names = connections.map(({ conn_id: conn, why }) => `${conn} (${why})`);
    return el("p", { class: "left-out" }, el("strong", {}, "Not in these sums: "), names.join(", "));
  }

  const order = (one, other) => (one < other ? -1 : one > other ? 1 : 0);

  // --- limits over time

  function limits(accounts) {
    const lines = merged(accounts, "limits_used") ?? [];
    if (lines.length === 0) return [];
    const columns = [
      column("Limit", (use) => LIMITS[use.limit] ?? use.limit),
      ...connection(accounts),
      column("Asset", (use) => use.ticker ?? "all"),
      numbers("Used", (use) => inUnit(use, use.used)),
      numbers("Limit", (use) => inUnit(use, use.most)),
      column("Used of it", used),
      numbers("Sent, in no record yet", (use) => inUnit(use, use.unshown)),
      column("More is free from", (use) => time(use.frees_at), "when"),
    ];
    const aside = el("span", { class: "muted" }, "all moves of the account, also those of people and other programs");
    return [card("Limits over time", aside, table("How much of each limit is used", columns, lines))];
  }

  const LIMITS = { max_per_day: "Amount in 24 hours", max_moves_per_hour: "Moves in one hour" };
  const inUnit = (use, text) => (use.ticker || missing(text) ? amount(text) : { text });

  function used(use) {
    if (missing(use.used)) return el("span", { class: "tag warn" }, "an amount cannot be read: no move");
    const part = Number(use.most) > 0 ? Math.min(1, Number(use.used) / Number(use.most)) : 1;
    const bar = el("span", { class: "share", "aria-hidden": "true" }, el("i", { class: part >= 1 ? "full" : "flex" }));
    bar.firstChild.style.width = `${100 * part}%`;
    return el("span", { class: "invested" }, bar, el("span", { class: "unit" }, `${(100 * part).toFixed(0)} %`));
  }

  function share(line) {
    if (line.at_work === null) return UNKNOWN;
    const bar = el("span", { class: "share", "aria-hidden": "true" });
    for (const part of ["flex", "fixed"]) {
      const piece = el("i", { class: part });
      piece.style.width = `${(100 * Number(line[part])) / Number(line.total)}%`;
      bar.append(piece);
    }
    const text = `${(100 * Number(line.at_work)).toFixed(0)} %`;
    return el("span", { class: "invested" }, bar, el("span", { class: "unit" }, text));
  }

  function flex(accounts) {
    const lines = merged(accounts, "flex");
    if (!lines) return [];
    const { earned, realised } = windowColumns();
    const notOffered = (held) => (held.on_offer === false ? el("span", { class: "tag" }, "not on offer") : null);
    const columns = [
      column("Asset", (held) => held.currency),
      ...connection(accounts),
      column("Plan", (held) => [code(held.plan_id), " ", notOffered(held), unknownStatus(held.status)]),
      numbers("Invested", (held) => amount(held.invested)),
      numbers("Max. rate", (held) => knownRate(held.max_rate)),
      realised,
      earned,
      column("Auto-reinvest", (held) => (held.with_auto_reinvest ? "on" : "off")),
      column("Since", (held) => date(held.created_at), "when"),
    ];
    const caption = "Active Flex investments by plan";
    const content = tableOr("No Flex investment is active.", caption, columns, lines);
    return [card("Flex investments", null, content)];
  }

  function fixed(accounts) {
    const lines = merged(accounts, "fixed");
    if (!lines) return [];
    const columns = [
      column("Asset", (held) => held.plan.ticker),
      ...connection(accounts),
      column("Plan", (held) => [code(held.plan.id), " ", unknownStatus(held.status)]),
      numbers("Amount", (held) => amount(held.amount)),
      numbers("Rate per term", (held) => knownRate(held.plan.percent, 1)),
      numbers("Rate per year", (held) => knownRate(held.yearly_rate)),
      numbers("Interest at maturity", (held) => amount(held.interest, held.plan.interest_ticker)),
      column("Start", (held) => date(held.created), "when"),
      column("End", (held) => [time(held.payment_time).slice(0, 16), " ", daysLeft(held.days_left)], "when"),
    ];
    const caption = "Active Fixed investments by end";
    const byEnd = [...lines].sort((a, b) => order(a.payment_time ?? "", b.payment_time ?? ""));
    const content = tableOr("No Fixed investment is active.", caption, columns, byEnd);
    return [card("Fixed investments", null, content)];
  }

  // Of the only account, or of all that are in the sums.
  const forecastOf = ({ accounts, sums }) => (sums ? sums.forecast : accounts[0]?.exchange?.forecast);

  // --- plans on offer: those of assets that the accounts hold, and all others on request

  const STATUSES = { 2: "no coins left", 4: "paused" };

  function plans(accounts) {
    const lines = merged(accounts, "plans");
    if (!lines) return [];
    const once = [...new Map(lines.map((plan) => [`${plan.kind} ${plan.id}`, plan])).values()];
    const tickers = new Set((merged(accounts, "positions") ?? []).map((line) => line.ticker));
    const held = once.filter((plan) => tickers.has(plan.ticker));
    const others = once.filter((plan) => !tickers.has(plan.ticker));
    const shown = [
      planPart("held plans", "Plans for assets in the account", held, matchMedia("(min-width: 1121px)").matches),
      planPart("other plans", held.length ? "Plans for other assets" : "All plans", others, held.length === 0),
    ].filter(Boolean);
    const content = shown.length ? el("div", { class: "plans" }, ...shown) : quiet("No plan is on offer.");
    return [card("Plans on offer", el("span", { class: "muted" }, "advertised rates"), content)];
  }

  // Plans that can be folded. Until the viewer opens or closes them, they are as the page has them.
  function planPart(name, title, lines, open) {
    if (lines.length === 0) return null;
    const summary = el("summary", {}, `${title} (${lines.length})`);
    return kept(name, el("details", { open: isOpen(name, open) }, summary, planTable(title, lines)));
  }

  function planTable(caption, lines) {
    const fixed = (plan, show) => (plan.kind === "fixed" ? show(plan) : null);
    const status = ({ status: number }) =>
      number === 1 ? null : el("span", { class: "tag" }, STATUSES[number] ?? `unknown status ${number}`);
    const paidIn = (plan) => (plan.interest_ticker === plan.ticker ? null : sub(`paid in ${plan.interest_ticker}`));
    const columns = [
      column("Asset", (plan) => plan.ticker),
      column("Kind", (plan) => [fixed(plan, kindOf) ?? "Flex", " ", fixed(plan, status)]),
      column("Plan", (plan) => code(plan.id)),
      numbers("Rate per year", (plan) => knownRate(plan.rate)),
      column("Rate per term", (plan) => fixed(plan, () => [perTerm(plan), paidIn(plan)]) ?? UNKNOWN, "num"),
      numbers("Minimum", (plan) => amount(plan.least)),
      numbers("Maximum", (plan) => amount(plan.most)),
      // Each account has its own.
      ...(state.latest.accounts.length > 1 ? [] : [numbers("Left for you", (plan) => amount(plan.left))]),
    ];
    return table(caption, columns, lines);
  }

  const kindOf = (plan) => `Fixed, ${term(plan.minutes)}`;
  const perTerm = (plan) => (missing(plan.percent) ? "unknown" : `${Number(plan.percent).toFixed(2)} %`);

  function term(minutes) {
    if (missing(minutes)) return "unknown term";
    const [size, unit] = [[1440, "day"], [60, "hour"], [1, "minute"]].find(([size]) => minutes % size === 0);
    return `${minutes / size} ${unit}${minutes === size ? "" : "s"}`;
  }

  // A part that stays open or closed when it is drawn again.
  function kept(name, details) {
    details.addEventListener("toggle", () => state.open.set(name, details.open));
    return details;
  }

  const isOpen = (name, usual = false) => state.open.get(name) ?? usual;

  const unknownStatus = (status) =>
    status === 1 ? null : el("span", { class: "tag warn" }, `unknown status ${status}`);

  function daysLeft(days) {
    if (days === null) return null;
    const text = days < 0 ? "due" : days === 0 ? "within a day" : `in ${days} ${days === 1 ? "day" : "days"}`;
    return el("span", { class: "unit" }, text);
  }

  function moves(known, accounts) {
    if (!known) return [];
    if (known.moves === null) {
      const needed = "To see them, you must be allowed to read the connection and Airflow's assets.";
      return [card("Last moves", null, quiet(needed))];
    }
    const columns = [
      column("Executed", (move) => time(move.executed_at ?? move.announced_at), "when"),
      column("Operation", (move) => [operation(move.operation), " ", move.reconciled ? reconciled() : null]),
      ...(accounts.length > 1 ? [column("Connection", (move) => move.conn_id)] : []),
      numbers("Amount", (move) => amount(move.amount)),
      column("Asset", (move) => move.ticker ?? UNKNOWN),
      column("Plan or route", (move) => route(move, short)),
      column("Transaction", (move) => short(move.transaction_id ?? move.investment_id)),
      column("Task and run", (move) => taskLink(move.task)),
    ];
    const which = accounts.length > 1 ? "these connections" : "this connection";
    const empty = `No DAG that you may read has moved money with ${which}.`;
    const content = tableOr(empty, "Last moves of Airflow's tasks", columns, known.moves);
    return [card("Last moves", el("span", { class: "muted" }, "receipts of Airflow's tasks"), content)];
  }

  function reconciled() {
    const title = "The reply was lost. The move was found in the exchange's records.";
    return el("span", { class: "tag", title }, "reconciled");
  }

  // --- earnings

  // Of the only account, or of all that are in the sums.
  const earningsOf = ({ accounts, sums }) => (sums ? sums.earnings : accounts[0]?.exchange?.earnings);

  function earnings(all) {
    if (!all) return [];
    const tickers = Object.keys(all.by_ticker);
    const content = tickers.length
      ? el("div", { class: "charts" }, ...tickers.map((ticker) => chart(ticker, all)))
      : quiet("No Flex earnings in the last 90 days.");
    return [card("Flex earnings per day", windowSwitch("earnings"), content)];
  }

  function windowSwitch(section) {
    const buttons = [30, 90].map((days) => {
      const button = el("button", { type: "button", "aria-pressed": String(days === state.days) }, `${days} days`);
      button.addEventListener("click", () => showDays(days, section));
      return button;
    });
    return el("div", { class: "switch", role: "group", "aria-label": "Days shown" }, ...buttons);
  }

  function showDays(days, section) {
    state.days = days;
    state.drawn = {};
    draw();
    byId(section).querySelector('.switch button[aria-pressed="true"]')?.focus();
  }

  function chart(ticker, all) {
    const days = all.days.slice(-state.days);
    const amounts = all.by_ticker[ticker].slice(-state.days);
    const total = `${grouped(all.totals[ticker][state.days])} in ${state.days} days`;
    const readout = el("span", { class: "readout" }, total);
    const label = `${ticker} earned per day: ${total}. The table below contains each day's figure.`;
    const plot = el("div", { class: "plot", role: "img", "aria-label": label });
    state.charts.push({ plot, days, amounts, total, readout });
    return el("div", { class: "chart" }, el("h3", {}, ticker, readout), plot, dailyFigures(ticker, days, amounts));
  }

  function dailyFigures(ticker, days, amounts) {
    const columns = [column("Day", ([day]) => day), numbers(ticker, ([, earned]) => amount(earned))];
    const rows = days.map((day, at) => [day, amounts[at]]).reverse();
    const scrolled = { class: "figures", tabindex: "0", role: "region", "aria-label": `${ticker} by day` };
    const content = el("div", scrolled, table(`${ticker} earned by day`, columns, rows, null));
    return kept(ticker, el("details", { open: isOpen(ticker) }, el("summary", {}, "Daily figures"), content));
  }

  function removeCharts() {
    for (const chart of state.charts) chart.drawn?.destroy();
    state.charts = [];
  }

  function plotAll() {
    for (const chart of state.charts) {
      chart.drawn?.destroy();
      chart.drawn = plotOne(chart);
    }
  }

  // A colour of the table in treasury.css, for the canvas.
  function color(name) {
    document.body.style.outlineColor = `var(--${name})`;
    return getComputedStyle(document.body).outlineColor;
  }

  function plotOne({ plot, days, amounts, total, readout }) {
    const axis = { stroke: color("chart-text"), font: "11px system-ui, sans-serif", ticks: { show: false } };
    const grid = { stroke: color("chart-grid"), width: 1 };
    const bars = { width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 22] }) };
    const showDay = ({ cursor }) => {
      const hovered = cursor.left >= 0 && !missing(cursor.idx);
      readout.textContent = hovered ? `${days[cursor.idx]}: ${grouped(amounts[cursor.idx])}` : total;
    };
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
        { ...axis, grid, size: yWidth, space: 34, values: yLabels },
      ],
      series: [{}, { ...bars, fill: color("chart-flex") }],
      hooks: { setCursor: [showDay] },
    };
    const seconds = days.map((day) => Date.parse(`${day}T00:00:00Z`) / 1000);
    return new uPlot(options, [seconds, amounts.map(Number)], plot);
  }

  function dayLabel(seconds) {
    return new Date(seconds * 1000).toUTCString().slice(5, 11).replace(/^0/, "");
  }

  // As many decimals as neighbouring labels need: daily earnings in BTC have many zeros.
  function yLabels(_, splits) {
    const step = splits.length > 1 ? splits[1] - splits[0] : 1;
    const isRound = /^[1-9](\.0*)?e/.test(step.toExponential(3));
    const decimals = (isRound ? 0 : 1) - Math.floor(Math.log10(step) + 1e-9);
    return splits.map((value) => (value === 0 ? "0" : value.toFixed(Math.max(0, Math.min(18, decimals)))));
  }

  function yWidth(_, values) {
    return 14 + 6.2 * Math.max(1, ...(values ?? []).map((value) => String(value).length));
  }

  // --- drawing: only sections whose data has changed

  function fill(name, data, build) {
    const key = JSON.stringify(data ?? null);
    if (state.drawn[name] === key) return false;
    const focused = document.activeElement;
    byId(name).replaceChildren(...build());
    state.drawn[name] = key;
    // What stays has lost the focus on its way.
    if (focused?.isConnected) focused.focus({ preventScroll: true });
    return true;
  }

  function draw() {
    if (!state.latest) return;
    const { accounts, sums, airflow } = state.latest;
    // Another user may have done it meanwhile.
    if (state.order !== (state.latest.switch?.stop ? "resume" : "stop")) state.order = null;
    byId("about").textContent = about(accounts);
    fill("switch", [state.latest.switch, state.order], () => switchBox(state.latest.switch));
    fill("doubts", { ...airflow, moves: null }, () => doubts(airflow));
    const listed = (name) => [accounts.map(({ conn_id: conn, exchange }) => [conn, exchange?.[name]])];
    fill("trouble", [listed("error"), listed("problems"), listed("warnings")], () => trouble(accounts));
    fill("positions", [listed("positions"), sums], () => positions(state.latest));
    fill("values", [listed("positions"), state.latest.values], () => parts.values(state.latest));
    fill("limits", listed("limits_used"), () => limits(accounts));
    fill("flex", listed("flex"), () => flex(accounts));
    fill("fixed", listed("fixed"), () => fixed(accounts));
    fill("plans", [listed("plans"), listed("positions")], () => plans(accounts));
    fill("moves", airflow?.moves, () => moves(airflow, accounts));
    const expected = forecastOf(state.latest);
    fill("forecast", expected, () => parts.forecast(expected, state.days));
    const earned = earningsOf(state.latest);
    const changed = fill("earnings", earned, () => {
      removeCharts();
      return earnings(earned);
    });
    if (changed) plotAll();
  }

  function about(accounts) {
    const known = accounts.map(({ exchange }) => exchange).filter((exchange) => exchange?.host);
    const hosts = [...new Set(known.map((exchange) => exchange.host))].join(", ");
    if (accounts.length === 1) return known.length ? `${hosts} · ${known[0].limits}` : "";
    return [`${accounts.length} connections`, hosts].filter(Boolean).join(" · ");
  }

  const say = (text) => (byId("status").textContent = text);

  // --- loading

  // With a body it is a request that changes something.
  async function fetchJson(path, body, signal = null) {
    const options = { headers: { Accept: "application/json" }, credentials: "same-origin", signal };
    if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
    if (body) options.headers["Content-Type"] = "application/json";
    const answer = await fetch(path, options).catch(() => null);
    const found = await answer?.json().catch(() => null);
    if (answer?.ok && found) return found;
    throw Object.assign(new Error(whyNot(answer, found, body)), { refused: answer?.status === 403 });
  }

  function whyNot(answer, found, body) {
    if (answer?.status === 401) return "Your Airflow login has expired. Log in and refresh this page.";
    if (typeof found?.detail === "string") return found.detail;
    // A proxy in front of Airflow may answer with a page of its own.
    const silent = "Airflow did not answer. If you log in to a proxy, that login may have expired.";
    const what = !answer || answer.ok ? silent : `Airflow answered ${answer.status}.`;
    const unknown = body && (!answer || answer.ok || answer.status >= 500);
    return unknown ? `${what} It is not known whether anything was changed: refresh this page to see.` : what;
  }

  async function refresh() {
    clearTimeout(state.timer);
    state.request?.abort();
    const request = (state.request = new AbortController());
    state.due = 0;
    const late = setTimeout(() => request.abort(), LONGEST_MS);
    document.body.classList.add("busy");
    let next = REFRESH_MS;
    try {
      const answer = await fetchJson(`api/treasury?${queryOf(chosen.shown)}`, null, request.signal);
      if (request !== state.request) return;
      state.latest = answer;
      draw();
      const loading = answer.accounts.filter(({ exchange }) => !exchange).map(({ conn_id: conn }) => conn);
      if (loading.length || lacksPrices(answer)) next = RETRY_MS;
      // The oldest of them.
      const asOf = answer.accounts.map(({ exchange }) => exchange?.as_of).filter(Boolean).sort()[0];
      const whose = loading.length < answer.accounts.length ? ` for ${loading.join(", ")}` : "";
      const waiting = `Loading data from the exchange${whose} …`;
      const texts = [asOf || loading.length === 0 ? `As of ${time(asOf ?? new Date().toISOString())} UTC` : null];
      say([...texts, loading.length ? waiting : null].filter(Boolean).join(". "));
    } catch (error) {
      if (request !== state.request) return;
      if (error.refused) clear();
      say(state.latest ? `${error.message} The data below is older.` : error.message);
    } finally {
      clearTimeout(late);
      if (request === state.request) {
        document.body.classList.remove("busy");
        state.due = Date.now() + next;
        state.timer = setTimeout(refreshIfVisible, next);
      }
    }
  }

  // Another viewer is loading them.
  function lacksPrices({ accounts, values }) {
    return values && accounts.some(({ conn_id: conn, exchange }) => exchange?.positions && !values.accounts[conn]);
  }

  function refreshIfVisible() {
    if (document.hidden) state.timer = setTimeout(refreshIfVisible, REFRESH_MS);
    else refresh();
  }

  function clear() {
    removeCharts();
    Object.assign(state, { latest: null, drawn: {} });
    for (const name of ["about", ...SECTIONS]) byId(name).replaceChildren();
  }

  function queryOf(conns) {
    const names = conns.map((conn) => `conn_id=${encodeURIComponent(conn)}`);
    return [...names, ...(chosen.valueIn ? [`value_in=${encodeURIComponent(chosen.valueIn)}`] : [])].join("&");
  }

  // keep: what is shown stays until the answer is here.
  function choose(conns, { keep = false } = {}) {
    chosen.shown = conns;
    chosen.ticked = new Set(conns);
    byId("chosen").textContent = conns.length > 1 ? `${conns[0]} and ${conns.length - 1} more` : conns[0];
    byId("chosen").title = conns.join(", ");
    byId("link").href = `treasury?${queryOf(conns)}`;
    // Within Airflow's frame the address is the frame's own. There the link below the page is what can be shared.
    history.replaceState(null, "", `?${queryOf(conns)}`);
    storage((store) => store.setItem(STORED_CONNECTIONS, JSON.stringify(conns)));
    if (!keep) clear();
    say("Loading data from the exchange …");
    refresh();
  }

  function chooseCurrency(currency) {
    chosen.valueIn = currency;
    const all = [...new Set([...CURRENCIES, currency].filter(Boolean))];
    const options = all.map((one) => el("option", { value: one, selected: one === currency }, one));
    byId("value-in").replaceChildren(el("option", { value: "" }, "none"), ...options);
    storage((store) => store.setItem(STORED_CURRENCY, currency));
  }

  // --- the list of connections

  function list() {
    const text = byId("connection").value.trim().toLowerCase();
    const all = [...new Set([...chosen.listed, ...chosen.ticked])];
    const found = all.filter((conn) => conn.toLowerCase().includes(text));
    const shown = found.slice(0, MOST_LISTED).map(tickBox);
    if (found.length > MOST_LISTED) shown.push(quiet(`${found.length - MOST_LISTED} more: type a part of the name.`));
    if (found.length === 0) shown.push(quiet("Not listed. Press Show to open it all the same."));
    byId("connections").replaceChildren(...shown);
  }

  function tickBox(conn) {
    const box = el("input", { type: "checkbox", value: conn, checked: chosen.ticked.has(conn) });
    box.addEventListener("change", () => chosen.ticked[box.checked ? "add" : "delete"](conn));
    return el("label", {}, box, el("span", {}, conn));
  }

  function closePicker() {
    byId("picker").open = false;
    byId("picker").querySelector("summary").focus();
  }

  function submitted(event) {
    event.preventDefault();
    // Some ids begin or end with a space; so does what a person types.
    const typed = byId("connection").value;
    const text = chosen.listed.includes(typed) ? typed : typed.trim();
    const found = chosen.listed.filter((conn) => conn.toLowerCase().includes(text.toLowerCase()));
    // What was typed is a part of the names that are listed, or the name of a connection that is not.
    if (text && (chosen.listed.includes(text) || found.length === 0)) chosen.ticked.add(text);
    const conns = [...chosen.ticked];
    if (conns.length === 0 || conns.length > MOST_SHOWN) {
      const most = `Choose at most ${MOST_SHOWN} connections.`;
      byId("connection").setCustomValidity(conns.length ? most : "Choose a connection.");
      byId("connection").reportValidity();
      return;
    }
    closePicker();
    choose(conns.sort(order));
  }

  function preparePicker() {
    const [picker, input] = [byId("picker"), byId("connection")];
    picker.addEventListener("toggle", () => {
      if (!picker.open) return;
      chosen.ticked = new Set(chosen.shown);
      input.value = "";
      list();
      input.focus();
    });
    input.addEventListener("input", () => {
      input.setCustomValidity("");
      list();
    });
    picker.addEventListener("keydown", (event) => event.key === "Escape" && picker.open && closePicker());
    byId("choose").addEventListener("submit", submitted);
    byId("choose").addEventListener("change", () => input.setCustomValidity(""));
    byId("cancel").addEventListener("click", closePicker);
  }

  // A browser may forbid storage. Then the connection is not remembered.
  function storage(use) {
    try {
      return use(localStorage);
    } catch {
      return null;
    }
  }

  const tools = { el, card, quiet, table, tableOr, column, numbers, kept, isOpen, windowSwitch };
  Object.assign(tools, { missing, amount, grouped, time, code, sub, facts, operation, taskLink, fetchJson });
  const oneDoubt = window.treasuryDoubts(tools);
  const parts = { values: window.treasuryValues(tools), forecast: window.treasuryForecast(tools) };

  async function start() {
    followTheme();
    preparePicker();
    const named = new URLSearchParams(location.search).get("value_in");
    chooseCurrency((named ?? storage((store) => store.getItem(STORED_CURRENCY)) ?? "").trim().toUpperCase());
    byId("value-in").addEventListener("change", (event) => {
      chooseCurrency(event.target.value);
      if (chosen.shown.length) choose(chosen.shown, { keep: true });
    });
    byId("refresh").addEventListener("click", () => refresh());
    // What was due while the page was not visible.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && state.due && Date.now() > state.due) refresh();
    });
    let resized = 0;
    window.addEventListener("resize", () => {
      clearTimeout(resized);
      resized = setTimeout(plotAll, 150);
    });
    const listed = await fetchJson("api/connections").catch((error) => (say(error.message), null));
    chosen.listed = listed?.connections ?? [];
    if (byId("picker").open) list();
    // The viewer may have chosen a connection meanwhile.
    if (chosen.shown.length === 0) choose(first(listed?.default));
  }

  // What is shown at first: what the address names, what was shown last, or the usual connection.
  function first(usual) {
    const named = new URLSearchParams(location.search).getAll("conn_id");
    const stored = storage((store) => JSON.parse(store.getItem(STORED_CONNECTIONS))) ?? [];
    const found = [named, stored].find((conns) => Array.isArray(conns) && conns.some(Boolean)) ?? [];
    const conns = [...new Set(found.filter((conn) => typeof conn === "string" && conn))].slice(0, MOST_SHOWN);
    return conns.length ? conns : [usual || "whitebit_default"];
  }

  // --- light and dark: Airflow's theme, or the system's outside of Airflow

  function followTheme() {
    const system = matchMedia("(prefers-color-scheme: dark)");
    let outside = null;
    try {
      if (window.parent !== window) outside = window.parent.document.documentElement;
    } catch {
      // A frame of another origin cannot be read. Then the system decides.
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

  start();
})();
