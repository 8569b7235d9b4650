// One move in doubt: what is known of it, and a user's answer. It inserts text as text.
// tools: functions of treasury.js that make elements and send requests.
window.treasuryDoubts = (tools) => {
  "use strict";

  const { el, table, column, numbers, amount, time, code, sub, facts, operation, taskLink, fetchJson } = tools;
  const RETRY_MS = 2_000;
  // What was loaded, by the move's id: a page that is drawn again shows it again.
  const known = new Map();

  function evidence(doubt) {
    if (!doubt.intent_id) return null;
    const entry = known.get(doubt.intent_id) ?? { open: false, said: [] };
    known.set(doubt.intent_id, entry);
    const body = el("div", { class: "evidence" });
    const what = [operation(doubt.operation), doubt.amount, doubt.ticker, "sent", time(doubt.sent_at)];
    const summary = el("summary", {}, `Evidence and answer: ${what.filter(Boolean).join(" ")}`);
    const details = el("details", { open: entry.open }, summary, body);
    details.addEventListener("toggle", () => {
      entry.open = details.open;
      if (details.open && body.childElementCount === 0) load(doubt, body);
    });
    return details;
  }

  async function load(doubt, body) {
    if (body.childElementCount === 0) body.replaceChildren(el("p", { role: "status" }, "Asking the exchange …"));
    try {
      const answer = await fetchJson(`api/doubt?intent_id=${encodeURIComponent(doubt.intent_id)}`);
      if (!answer.error && !answer.evidence) return void setTimeout(() => body.isConnected && load(doubt, body), RETRY_MS);
      body.replaceChildren(...shown(doubt, answer, () => load(doubt, body)));
    } catch (error) {
      body.replaceChildren(el("p", { class: "problem", role: "alert" }, error.message));
    }
  }

  function shown(doubt, answer, reload) {
    const said = known.get(doubt.intent_id).said.map((line) => el("p", { role: "status" }, line));
    if (answer.error) {
      return [...said, el("p", { class: "problem" }, ...facts(answer.error)), again("Ask again", reload)];
    }
    const found = answer.evidence;
    return [
      ...said,
      el("p", {}, `The exchange at ${time(found.as_of)} UTC, with connection ${found.connection}.`),
      el("ul", {}, ...found.attempts.map((one) => el("li", {}, `Sent ${one.sent}: ${one.outcome}`))),
      found.candidates.length ? table("Records that may be this move", CANDIDATES, found.candidates) : null,
      found.balances ? table("Balances of both sides", BALANCES, found.balances) : null,
      found.others.length ? table("Other moves of this asset since then", OTHERS, found.others) : null,
      el("p", { class: "conclusion" }, found.conclusion),
      found.answer ? el("p", {}, answered(found.answer)) : null,
      ...controls(doubt, answer, reload),
    ].filter(Boolean);
  }

  const CANDIDATES = [
    column("Record", (one) => [code(one.transaction), sub(!one.readable ? "cannot be read" : !one.fits && "does not fit")]),
    column("Time", (one) => (one.at ? time(one.at) : "unknown"), "when"),
    numbers("Amount", (one) => amount(one.amount)),
    column("Belongs to", (one) => (one.explained_by ? owner(one.explained_by) : "not known")),
  ];
  const BALANCES = [
    column("Balance", (one) => one.balance),
    numbers("Before", (one) => amount(one.before)),
    numbers("Now", (one) => amount(one.now)),
    numbers("Change", (one) => amount(one.change)),
    numbers("Other moves", (one) => amount(one.other_moves)),
    numbers("Remains", (one) => amount(one.remains)),
  ];
  const OTHERS = [
    column("Operation", (one) => operation(one.operation)),
    numbers("Amount", (one) => amount(one.amount)),
    column("Executed", (one) => time(one.at), "when"),
    column("Task and run", owner),
  ];

  function owner(one) {
    const word = sub(one.by_person ? `${one.source}, by a person's word` : one.source);
    return one.task ? [...taskLink(one.task), word] : ["another move", word];
  }

  function answered({ ran, transaction, by, at, reason }) {
    const what = ran ? `it ran${transaction ? ` (${transaction})` : ""}` : "it did not run";
    return `${by} answered at ${time(at)} UTC: ${what}. Reason: ${reason}`;
  }

  // --- what a user who may edit the task instance can do

  function controls(doubt, answer, reload) {
    const found = answer.evidence;
    if (!answer.may_resolve) {
      return [el("p", { class: "muted" }, "Only users who may edit this task instance can answer.")];
    }
    if (found.open_until) return [again("Ask again", reload)];
    if (found.needs_person && !found.answer) return [form(doubt, answer, reload)];
    if (!found.needs_person && found.excluded.length && !known.get(doubt.intent_id).excluded) {
      const exclude = async () => {
        await keep(doubt, { answer: "explained" });
        known.get(doubt.intent_id).excluded = true;
      };
      return [again("Leave out the records of other moves", reload, exclude)];
    }
    return [again("Clear this task in Airflow", reload, () => clear(doubt))];
  }

  // A button that does something, and then shows the move again.
  function again(label, reload, act = async () => {}) {
    const button = el("button", { type: "button" }, label);
    const problem = el("p", { class: "problem", role: "alert" });
    button.addEventListener("click", () => attempt([button], problem, reload, act));
    return el("div", { class: "answer" }, button, problem);
  }

  async function attempt(buttons, problem, reload, act) {
    problem.textContent = "";
    for (const button of buttons) button.disabled = true;
    try {
      await act();
      await reload();
    } catch (error) {
      problem.textContent = error.message;
    }
    for (const button of buttons) button.disabled = false;
  }

  function form(doubt, { evidence: found, confirm }, reload) {
    const id = (name) => `${name}-${doubt.intent_id}`;
    const field = (name, label, input) => el("div", {}, el("label", { for: id(name) }, label), input);
    const text = (name, maxlength) =>
      el("input", { id: id(name), name, maxlength, autocomplete: "off", spellcheck: "false", required: true });
    const options = [...new Set(found.remains)].map((name) => el("option", { value: name }, name));
    const choice = el("select", { id: id("transaction_id"), name: "transaction_id" }, ...options);
    const ran = el("button", { type: "submit", value: "ran", disabled: found.candidates.length > 0 && options.length === 0 }, "It ran");
    const not = el("button", { type: "submit", value: "did_not_run" }, "It did not run");
    const problem = el("p", { class: "problem", role: "alert" });
    const whole = el(
      "form",
      { class: "answer", "aria-label": "Did this move run?" },
      options.length ? field("transaction_id", "If it ran, its record", choice) : null,
      field("reason", "How you know", text("reason", "500")),
      field("confirm", `Type ${confirm} to confirm`, text("confirm", "200")),
      el("div", { class: "buttons" }, ran, not),
      problem,
    );
    whole.addEventListener("submit", (event) => {
      event.preventDefault();
      const given = Object.fromEntries(new FormData(whole));
      const answer = event.submitter?.value ?? "";
      if (answer !== "ran") delete given.transaction_id;
      attempt([ran, not], problem, reload, () => keep(doubt, { ...given, answer }));
    });
    return whole;
  }

  async function keep(doubt, given) {
    const kept = await fetchJson("api/doubt", { intent_id: doubt.intent_id, ...given });
    known.get(doubt.intent_id).said = [kept.message, kept.next_step];
  }

  // Airflow's own API decides whether this user may clear the task.
  async function clear(doubt) {
    const { dag_id: dag, run_id: run, task_id: task, map_index: index } = doubt.task;
    await fetchJson(`../api/v2/dags/${encodeURIComponent(dag)}/clearTaskInstances`, {
      dry_run: false,
      dag_run_id: run,
      task_ids: [index >= 0 ? [task, index] : task],
      include_downstream: true,
      only_failed: true,
      reset_dag_runs: true,
    });
    known.get(doubt.intent_id).said = ["Airflow has cleared the task. It runs again."];
  }

  return { evidence };
};
