// One move in doubt: what is known of it, and a user's answer. It inserts text as text.
// tools: functions of treasury.js that make elements and send requests.
window.treasuryDoubts = (tools) => {
  "use strict";

  const { el, table, column, numbers, amount, time, code, sub, facts, operation, taskLink, fetchJson } = tools;
  const RETRY_MS = 2_000;
  // What is shown of each move, by its id.
  const known = new Map();

  // A page that is drawn again keeps what a user has opened and typed, unless the move has changed.
  function evidence(doubt) {
    if (!doubt.intent_id) return null;
    const text = JSON.stringify({ ...doubt, ours: null });
    const before = known.get(doubt.intent_id);
    if (before?.text === text && before.details.isConnected) return before.details;
    const body = el("div", { class: "evidence" });
    const what = [operation(doubt.operation), doubt.amount, doubt.ticker, "sent", time(doubt.sent_at)];
    const summary = el("summary", {}, `Evidence and answer: ${what.filter(Boolean).join(" ")}`);
    const details = el("details", { open: before?.details.open }, summary, body);
    const entry = { doubt, text, details, body, said: [], excluded: false };
    known.set(doubt.intent_id, entry);
    details.addEventListener("toggle", () => details.open && body.childElementCount === 0 && load(entry));
    return details;
  }

  async function load(entry) {
    const { doubt, body } = entry;
    if (body.childElementCount === 0) body.replaceChildren(el("p", { role: "status" }, "Asking the exchange …"));
    let content;
    try {
      const answer = await fetchJson(`api/doubt?intent_id=${encodeURIComponent(doubt.intent_id)}`);
      if (!answer.error && !answer.evidence) return void setTimeout(() => body.isConnected && load(entry), RETRY_MS);
      content = answer.error ? failed(entry, facts(answer.error)) : shown(entry, answer);
    } catch (error) {
      content = failed(entry, [error.message]);
    }
    body.replaceChildren(...entry.said.map((line) => el("p", { role: "status" }, line)), ...content);
  }

  function failed(entry, lines) {
    return [el("p", { class: "problem", role: "alert" }, ...lines), again(entry, "Ask again")];
  }

  function shown(entry, answer) {
    const found = answer.evidence;
    return [
      // The commands in the steps need the move's id.
      el("p", {}, "Move ", code(found.id), `. The exchange at ${time(found.as_of)} UTC, with connection ${found.connection}.`),
      el("ul", {}, ...found.attempts.map((one) => el("li", {}, `Sent ${one.sent}: ${one.outcome}`))),
      found.candidates.length ? table("Records that may be this move", CANDIDATES, found.candidates) : null,
      found.balances ? table("Balances of both sides", BALANCES, found.balances) : null,
      found.others.length ? table("Other moves of this asset since then", OTHERS, found.others) : null,
      el("p", { class: "conclusion" }, found.conclusion),
      found.answer ? el("p", {}, answered(found.answer)) : null,
      ...controls(entry, answer),
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

  function controls(entry, answer) {
    const found = answer.evidence;
    if (!answer.may_resolve) {
      return [el("p", { class: "muted" }, "Only users who may edit this task instance can answer.")];
    }
    if (found.open_until) return [again(entry, "Ask again")];
    if (found.needs_person && !found.answer) return [form(entry, answer), again(entry, "Ask again")];
    if (!found.needs_person && found.excluded.length && !entry.excluded) {
      const exclude = async () => {
        await keep(entry, { answer: "explained" });
        entry.excluded = true;
      };
      return [again(entry, "Leave out the records of other moves", exclude)];
    }
    return [again(entry, "Clear this task in Airflow", () => clear(entry))];
  }

  // A button that does something, and then shows the move again.
  function again(entry, label, act = async () => {}) {
    const button = el("button", { type: "button" }, label);
    const problem = el("p", { class: "problem", role: "alert" });
    button.addEventListener("click", () => attempt(entry, [button], problem, act));
    return el("div", { class: "answer" }, button, problem);
  }

  async function attempt(entry, buttons, problem, act) {
    const enabled = buttons.filter((button) => !button.disabled);
    problem.textContent = "";
    for (const button of enabled) button.disabled = true;
    try {
      await act();
      await load(entry);
    } catch (error) {
      problem.textContent = error.message;
    }
    for (const button of enabled) button.disabled = false;
  }

  function form(entry, { evidence: found, confirm }) {
    const { doubt } = entry;
    const id = (name) => `${name}-${doubt.intent_id}`;
    const field = (name, label, input) => el("div", {}, el("label", { for: id(name) }, label), input);
    const text = (name, maxlength) =>
      el("input", { id: id(name), name, maxlength, autocomplete: "off", spellcheck: "false", required: true });
    const options = [...new Set(found.remains)].map((name) => el("option", { value: name }, name));
    const choice = el("select", { id: id("transaction_id"), name: "transaction_id" }, ...options);
    // No button submits the form: Enter in a field must not choose one of two opposite answers.
    const ran = el("button", { type: "button", disabled: found.candidates.length > 0 && options.length === 0 }, "It ran");
    const not = el("button", { type: "button" }, "It did not run");
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
    const give = (answer) => {
      if (!whole.reportValidity()) return;
      const given = Object.fromEntries(new FormData(whole));
      if (answer !== "ran") delete given.transaction_id;
      attempt(entry, [ran, not], problem, () => keep(entry, { ...given, answer, seen: found.mark }));
    };
    ran.addEventListener("click", () => give("ran"));
    not.addEventListener("click", () => give("did_not_run"));
    return whole;
  }

  async function keep(entry, given) {
    const kept = await fetchJson("api/doubt", { intent_id: entry.doubt.intent_id, ...given });
    entry.said = [kept.message, kept.next_step];
  }

  // Airflow's own API decides whether this user may clear the task.
  async function clear(entry) {
    const { dag_id: dag, run_id: run, task_id: task, map_index: index } = entry.doubt.task;
    const { total_entries: cleared } = await fetchJson(`../api/v2/dags/${encodeURIComponent(dag)}/clearTaskInstances`, {
      dry_run: false,
      dag_run_id: run,
      task_ids: [index >= 0 ? [task, index] : task],
      include_downstream: true,
      only_failed: true,
      reset_dag_runs: true,
    });
    if (cleared === 0) throw new Error("Nothing was cleared, because the task has not failed. Clear it on its own page.");
    entry.said = ["Airflow has cleared the task. It runs again."];
  }

  return { evidence };
};
