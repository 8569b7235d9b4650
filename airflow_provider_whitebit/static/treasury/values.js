// What the amounts are worth in one currency: estimates, in cards of their own, never in a sum with exact amounts.
// tools: functions of treasury.js that make elements.
window.treasuryValues = (tools) => {
  "use strict";

  const { el, card, quiet, table, tableOr, column, numbers, missing, grouped, time, facts } = tools;
  const FIGURES = { idle: "Idle in Main", flex: "Flex", fixed: "Fixed" };
  const REASONS = {
    no_price: "no price",
    unreadable_price: "its price cannot be read",
    unreadable_amount: "the amount is not known",
  };
  // Currencies in which values have as many decimals as a coin has. Of others, cents are enough for an estimate.
  const COINS = ["BTC", "ETH"];

  function values({ accounts, sums, values: found }) {
    if (!found) return [];
    const title = `Value in ${found.value_in}`;
    const all = accounts.map(({ conn_id: conn }) => ({ conn, ...found.accounts[conn] }));
    const shown = all.filter((one) => one.error === null);
    const failed = all.filter((one) => one.error);
    const whole = sums ? found.sums : shown[0];
    const error = whole?.error ?? (shown.length === 0 ? failed[0]?.error : null);
    if (error) return [card(title, null, problem(error))];
    if (shown.length === 0) return [];
    const readAt = (whole ?? shown[0]).read_at;
    const aside = el("span", { class: "muted" }, `estimate, by last prices of ${time(readAt)} UTC`);
    const cards = [card(title, aside, whole ? valueOf(whole, found.value_in) : severalExchanges())];
    if (sums) {
      // Prices of one exchange that cannot be read hide no value of another.
      const notes = failed.map(({ conn, error }) => problem(error, `${conn}: `));
      cards.push(card(`${title} by connection`, null, [...notes, byConnection(shown, found.value_in)]));
    }
    return cards;
  }

  function problem(error, name = "") {
    return el("p", { class: "left-out" }, ...facts({ ...error, message: name + error.message }));
  }

  function severalExchanges() {
    return quiet("These accounts are at several exchanges, whose prices differ. Their values are not added up.");
  }

  function valueOf(whole, currency) {
    const total = [`≈ ${estimate(whole.total, currency).text}`, el("span", { class: "unit" }, ` ${currency}`)];
    return [el("p", { class: "value" }, ...total), leftOut(whole.left_out), byAsset(whole, currency)].filter(Boolean);
  }

  function estimate(text, currency) {
    if (missing(text)) return { text: null };
    return { text: grouped(Number(text).toFixed(COINS.includes(currency) ? 8 : 2)) };
  }

  function leftOut(missed) {
    if (missed.length === 0) return null;
    const names = missed.map(({ ticker, figure, amount, reason }) => {
      const exact = missing(amount) ? "" : ` ${grouped(amount)}`;
      return `${ticker}, ${FIGURES[figure]}${exact} (${REASONS[reason] ?? reason})`;
    });
    return el("p", { class: "left-out" }, el("strong", {}, "Not in this value: "), names.join("; "));
  }

  // Columns of values by figure.
  function figures(currency, read) {
    return Object.entries(FIGURES).map(([name, title]) => numbers(title, (one) => estimate(read(one)[name], currency)));
  }

  function byAsset(whole, currency) {
    const assets = Object.entries(whole.assets);
    const lines = assets.map(([ticker, asset]) => ({ ticker, ...asset, value: whole.by_asset[ticker] }));
    const columns = [
      column("Asset", (one) => one.ticker),
      column("Price", (one) => (one.price ? price(one.price.price) : "no price"), "num"),
      column("Market", (one) => (one.price ? markets(one.price) : "—")),
      ...figures(currency, (one) => one.values),
      numbers("Value", (one) => estimate(one.value, currency)),
    ];
    return tableOr("There is nothing to value.", `Value in ${currency} by asset`, columns, lines);
  }

  function byConnection(shown, currency) {
    const columns = [
      column("Connection", (one) => one.conn),
      ...figures(currency, (one) => one.totals),
      numbers("Value", (one) => estimate(one.total, currency)),
      column("Left out", (one) => (one.complete ? "nothing" : leftOut(one.left_out))),
    ];
    return table(`Value in ${currency} by connection`, columns, shown);
  }

  function price(text) {
    if (text.length <= 14) return grouped(text);
    const decimals = Math.max(2, 7 - Math.floor(Math.log10(Number(text))));
    return el("span", { title: text }, grouped(Number(text).toFixed(Math.min(100, decimals))));
  }

  function markets({ markets: legs, frozen }) {
    const names = legs.map((leg) => `${leg.reversed ? "1/" : ""}${leg.market}`);
    return [names.join(", ") || "—", " ", frozen ? el("span", { class: "tag warn" }, "trading is disabled") : null];
  }

  return values;
};
