// Expected earnings, added up day by day as pictures and listed as figures; and the calendar of Fixed terms.
// tools: functions of treasury.js that make elements.
window.treasuryForecast = (tools) => {
  "use strict";

  const { el, card, quiet, table, column, numbers, missing, amount, grouped, kept, isOpen, windowSwitch } = tools;
  const HEIGHT = 100;
  const known = (text) => (missing(text) ? "unknown" : grouped(text));

  function forecast(found, length) {
    if (!found) return [];
    const tickers = Object.keys(found.by_ticker);
    const content = tickers.length
      ? el("div", { class: "charts" }, ...tickers.map((ticker) => chart(ticker, found, length)))
      : quiet("No earnings are expected.");
    const title = `Expected earnings, next ${length} days`;
    const cards = [card(title, windowSwitch("forecast"), [notes(found.unknown), content].filter(Boolean))];
    const aside = el("span", { class: "muted" }, "amounts and interest that come to Main");
    if (found.calendar.length) cards.push(card("Calendar of Fixed terms", aside, calendar(found.calendar)));
    return cards;
  }

  function notes(texts) {
    if (texts.length === 0) return null;
    return el("p", { class: "left-out" }, el("strong", {}, "Not in it: "), texts.join(" "));
  }

  function chart(ticker, found, length) {
    const expected = found.by_ticker[ticker];
    const days = found.days.slice(0, length);
    const { earned, interest } = expected.totals[length];
    const sum = (name, amount) => [el("i", { class: `key ${name.toLowerCase()}` }), `${name} ${known(amount)}`];
    const text = `Flex ${known(earned)}, Fixed ${known(interest)}`;
    const readout = el("span", { class: "readout" }, ...sum("Flex", earned), ...sum("Fixed", interest));
    const tags = [
      expected.advertised ? el("span", { class: "tag" }, "by advertised rates") : null,
      expected.complete ? null : el("span", { class: "tag warn" }, "not complete"),
    ];
    const label = `${ticker} expected until ${days.at(-1)}: ${text}. The table below contains each day's figures.`;
    const sums = [expected.earned, expected.interest].map((amounts) => runningSums(amounts.slice(0, length)));
    return el(
      "div",
      { class: "chart" },
      el("h3", {}, el("span", {}, ticker, " ", ...tags.filter(Boolean)), readout),
      el("div", { role: "img", "aria-label": label }, picture(days, ...sums)),
      dailyFigures(ticker, days, expected),
    );
  }

  // For a picture only. An unknown day adds nothing to it; the text above says that it is unknown.
  function runningSums(amounts) {
    let sum = 0;
    return amounts.map((text) => (sum += Number(text ?? 0)));
  }

  // Two areas with steps, one on the other: Flex below, Fixed above.
  function picture(days, flex, fixed) {
    const top = flex.at(-1) + fixed.at(-1) || 1;
    const y = (value) => HEIGHT - (HEIGHT * value) / top;
    const step = (level, at) => `L${at} ${y(level)}L${at + 1} ${y(level)}`;
    const area = (levels, name) => path(name, `M0 ${HEIGHT}${levels.map(step).join("")}L${days.length} ${HEIGHT}Z`);
    const both = flex.map((level, at) => level + fixed[at]);
    const lines = [0, 0.5, 1].map((part) => path("grid", `M0 ${y(part * top)}L${days.length} ${y(part * top)}`));
    const size = { viewBox: `0 0 ${days.length} ${HEIGHT}`, preserveAspectRatio: "none" };
    const marks = [1, 0.5, 0].map((part) => el("span", {}, String(Number((part * top).toPrecision(3)))));
    const dates = [days[0], days[days.length >> 1], days.at(-1)].map((day) => el("span", {}, dayLabel(day)));
    return el(
      "div",
      { class: "expected", "aria-hidden": "true" },
      el("div", { class: "marks" }, ...marks),
      svg("svg", size, ...lines, area(both, "fixed"), area(flex, "flex")),
      el("div", { class: "dates" }, ...dates),
    );
  }

  const dayLabel = (day) => new Date(`${day}T00:00:00Z`).toUTCString().slice(5, 11).replace(/^0/, "");
  const path = (name, d) => svg("path", { class: name, d });

  function svg(name, attributes, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  function dailyFigures(ticker, days, expected) {
    const columns = [
      column("Day", ([day]) => day),
      numbers("Flex", ([, at]) => amount(expected.earned[at])),
      numbers("Fixed interest", ([, at]) => amount(expected.interest[at])),
    ];
    const rows = days.map((day, at) => [day, at]);
    const scrolled = { class: "figures", tabindex: "0", role: "region", "aria-label": `${ticker} expected by day` };
    const content = el("div", scrolled, table(`${ticker} expected by day`, columns, rows, null));
    const name = `expected ${ticker}`;
    return kept(name, el("details", { open: isOpen(name) }, el("summary", {}, "Daily figures"), content));
  }

  function calendar(lines) {
    const interest = (line) => Object.entries(line.interest).map(([ticker, text]) => `${known(text)} ${ticker}`);
    const columns = [
      column("Day", (line) => line.date ?? "unknown", "when"),
      column("Asset", (line) => line.ticker),
      numbers("Terms", (line) => ({ text: String(line.terms) })),
      numbers("Amount", (line) => amount(line.amount)),
      column("Interest", (line) => interest(line).join(", "), "num"),
    ];
    return table("Terms that end, by day", columns, lines);
  }

  return forecast;
};
