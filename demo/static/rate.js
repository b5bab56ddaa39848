// The Rate tab in the browser: consent, practice, trials, pause, end. demo/tabs/rate.py serves its requests.
//
// The next trials are fetched, and their images decoded, while the rater looks at the current one, so that raters do not
// wait for the server. Answers are stored in the outbox until the server has confirmed them.

const MIN_ANSWER_TIME = 250; // ms, minimum time of an answer: ignores the second click of a double click
const PREFETCH = 4; // trials loaded in advance, enough for a short loss of connection
const MAX_UNDO = 20; // answers that can be undone, also after a reload

function rate(root) {
  const base = `${window.gradio_config?.root ?? ""}/study`;
  const server = connection(base, showTrouble);
  let about, store, box; // the study, the browser storage, the outbox
  let code = null; // code of the rater; set to null by "delete", which stops pending requests
  let progress = { done: 0, total: 0 };
  let ready = []; // loaded trials, from prepareTrial
  let current = null; // the displayed trial
  let answered = new Set(); // ids of trials answered since the page was opened
  let undone = -MIN_ANSWER_TIME; // time of the last undo, ms
  let exhausted = false; // the server has no more trials
  let filling = null; // promise of the pending fetch of trials
  const settings = { showInput: false }; // kept between trials
  let [trouble, refusal] = [null, null];
  let keys = {}; // key -> action of the current screen

  const notice = h("p", { class: "notice", role: "status" });
  const bar = h("div", { class: "progress" });
  const stage = h("section", { class: "stage", tabindex: "-1", "aria-live": "polite" });
  const foot = h("footer");
  const question = h("dialog");
  const title = root.querySelector("h2");
  root.replaceChildren(title, bar, notice, stage, foot, question);
  document.addEventListener("keydown", onKeyDown, true);
  begin();

  async function begin() {
    screen("waiting", [h("p", { class: "quiet" }, say("rate.loading_study"))]);
    about = await server.ask("about");
    title.textContent = sayDefault(about.title, "title");
    store = browserStorage(`gpen.rate.${about.study}.`);
    box = outbox(store);
    const known = store.get("code");
    const state = known && (await server.ask("resume", { code: known }).catch(() => null));
    if (!state?.consented) return consentScreen(Boolean(known));
    enter(known, state.progress);
  }

  function enter(newCode, newProgress) {
    code = newCode;
    progress = newProgress;
    send();
    if (store.get("practised")) advance();
    else practice();
    refill();
  }

  // ---- requests -----------------------------------------------------------------------------------------------------

  function send() {
    const mine = code;
    const done = (result) => {
      progress = result.progress;
      refusal = null;
      drawFrame();
    };
    const refused = (sentence, entry) => {
      answered.delete(entry.body.trial);
      showRefusal(sentence);
    };
    return box.flush(server.ask, done, refused, () => code !== null && code === mine).then(drawFrame);
  }

  /** Fetch trials until PREFETCH of them are loaded or loading. */
  function refill() {
    filling ??= fill().catch((error) => showError(error.message)).finally(() => (filling = null));
    return filling;
  }

  async function fill() {
    const mine = code;
    while (code === mine && !exhausted && ready.length < PREFETCH) {
      const unsent = box.pending().flatMap(({ name, body }) => (name === "answer" ? [body.trial] : []));
      const held = () => [current, ...ready].filter((item) => item && !item.isPractice).map((item) => item.trial.trial);
      const ask = { code, n: PREFETCH - ready.length, holding: [...new Set([...held(), ...unsent])] };
      const trials = await server.ask("next", ask, () => code === mine);
      if (code !== mine) return;
      const fresh = trials.filter(({ trial }) => !held().includes(trial) && !answered.has(trial));
      exhausted = trials.length === 0;
      ready.push(...fresh.map(prepare));
      if (trials.length && !fresh.length) await sleep(500); // just answered: wait until the server has stored the answer
    }
  }

  function prepare(trial) {
    const mine = code;
    return prepareTrial(trial, base, server, () => code === mine);
  }

  // ---- trials -----------------------------------------------------------------------------------------------------

  async function advance() {
    current = null;
    if (!ready.length && !exhausted) screen("waiting", [h("p", { class: "quiet" }, say("rate.loading_next"))]);
    while (!ready.length && !exhausted && code) await refill();
    if (current || !code) return; // undo was onKeyDown, or the answers were deleted
    if (!ready.length) return showEnd();
    show(ready.shift(), choose);
    refill();
  }

  async function show(item, chosen, heading) {
    current = item;
    item.since = null;
    if (!item.isLoaded) screen("waiting", [h("p", { class: "quiet" }, say("rate.loading_images"))]);
    await item.loaded;
    if (current !== item) return;
    const timed = (choice) => {
      const now = performance.now();
      if (current === item && item.since !== null && now - item.since >= MIN_ANSWER_TIME)
        chosen(choice, Math.round(item.spent + now - item.since));
    };
    const view = trialView(item, timed, canUndo() ? undo : null, settings);
    screen(item.trial.protocol, [heading, ...view.nodes], view.act);
    await painted();
    if (current === item) item.since = performance.now();
  }

  const history = () => JSON.parse(store.get("history") ?? "[]");
  const canUndo = () => !current?.isPractice && history().length > 0;

  function choose(choice, ms) {
    const { trial } = current;
    const id = uniqueId();
    current = null;
    box.add("answer", { code, id, trial: trial.trial, choice, ms });
    store.set("history", JSON.stringify([...history(), { id, trial }].slice(-MAX_UNDO)));
    answered.add(trial.trial);
    send();
    drawFrame();
    const { done, total } = count();
    if (about.pause && done % about.pause === 0 && done < total) showPause(say("rate.pause_due", { done, total }));
    else advance();
  }

  function undo() {
    const past = history();
    const last = past.pop();
    if (!last || performance.now() - undone < MIN_ANSWER_TIME) return;
    undone = performance.now();
    store.set("history", JSON.stringify(past));
    box.add("undo", { code, id: last.id });
    send();
    drawFrame();
    requeue();
    answered.delete(last.trial.trial);
    exhausted = false;
    show(prepare(last.trial), choose);
  }

  /** Put the displayed trial back into the queue; its viewing time is kept. */
  function requeue() {
    if (!current) return;
    if (current.since !== null) current.spent += performance.now() - current.since;
    ready.unshift(current);
    current = null;
  }

  /** Number of answered trials, including unsent answers. */
  function count() {
    const net = box.pending().reduce((sum, { name }) => sum + (name === "answer" ? 1 : -1), 0);
    return { done: Math.max(0, Math.min(progress.total, progress.done + net)), total: progress.total };
  }

  const instructions = () => sayDefault(about.instructions, about.protocol);

  // ---- the other screens ------------------------------------------------------------------------------------------

  function consentScreen(again) {
    const agree = button(say("rate.agree"), null, () => {
      agree.disabled = true;
      const consent = async (mine) => {
        const { progress } = await server.ask("consent", { code: mine });
        store.set("code", mine);
        enter(mine, progress);
      };
      consent(store.get("code") ?? uniqueId())
        .catch(() => (store.clear(), consent(uniqueId()))) // the answers of this rater were deleted: use a new code
        .catch((error) => showError(error.message));
    }, { class: "primary" });
    screen("consent", [
      h("p", { class: "text" }, instructions()),
      h("p", { class: "quiet" }, say("rate.length", { n: about.session })),
      h("h3", {}, say(again ? "rate.again" : "rate.before")),
      h("div", { class: "text sheet" }, sayDefault(about.consent, "consent"),
        h("small", {}, say("rate.version", { version: about.version }))),
      store.lasts ? null : h("p", { class: "quiet" }, say("rate.no_storage")),
      h("div", { class: "row" }, agree, button(say("rate.decline"), null, declined)),
    ]);
  }

  function declined() {
    const back = button(say("rate.reconsider"), null, () => consentScreen(false));
    screen("centred", [h("p", {}, say("rate.declined")), back]);
  }

  async function practice() {
    const mine = code;
    const rounds = await server.ask("training", {}, () => code === mine).catch(() => []);
    if (code !== mine) return;
    const items = rounds.map((round) => Object.assign(prepare(round), { isPractice: true }));
    const next = (i) => {
      if (i === items.length) {
        store.set("practised", "1");
        current = null;
        if (!i) return advance();
        return screen("centred", [h("p", {}, say("rate.practice_done")),
          button(say("rate.start"), null, advance, { class: "primary" })]);
      }
      const heading = h("p", { class: "practice" }, say("rate.practice", { i: i + 1, total: items.length }));
      show(items[i], (choice) => explain(items[i], choice, () => next(i + 1)), heading);
    };
    next(0);
  }

  function explain(item, choice, go) {
    item.since = null;
    const onward = button(say("rate.continue"), null, go, { class: "primary" });
    stage.querySelector(".controls").replaceChildren(feedback(item, choice), onward);
    stage.querySelector(".tools").remove();
    onward.focus({ preventScroll: true });
    keys = {};
  }

  function showPause(sentence) {
    requeue();
    const back = canUndo();
    const onward = button(say("rate.continue"), null, advance, { class: "primary" });
    screen("centred", [h("p", {}, sentence), h("p", { class: "quiet" }, say("rate.rest")),
      h("div", { class: "row" }, onward, back && button(say("rate.undo_last"), "Z", undo))], back ? { z: undo } : {});
  }

  async function showEnd() {
    const mine = code;
    screen("centred", [h("p", { class: "quiet" }, say("rate.sending"))]);
    await send();
    const own = code === mine && (await server.ask("agreement", { code }, () => code === mine).catch(() => null));
    if (!own || code !== mine || current) return;
    const back = history().length > 0;
    screen("centred thanks", [h("h3", {}, say("rate.thanks")), raterStatistics(own),
      h("p", { class: "quiet" }, say("rate.finished")),
      back && button(say("rate.undo_last"), "Z", undo)], back ? { z: undo } : {});
  }

  function showError(sentence) {
    screen("centred", [h("p", {}, sentence), button(say("rate.restart"), null, () => (forget(), consentScreen(false)))]);
  }

  function forget() {
    code = current = null;
    store.clear();
    [ready, answered, exhausted, filling] = [[], new Set(), false, null];
    progress = { done: 0, total: 0 };
  }

  function dialog(text, ...buttons) {
    question.replaceChildren(h("p", { class: "text" }, text), h("div", { class: "row" }, buttons));
    question.showModal();
  }

  async function deleteAll() {
    const mine = code;
    question.close();
    code = current = null; // stops all pending requests
    screen("centred", [h("p", { class: "quiet" }, say("rate.deleting"))]);
    const { deleted } = await server.ask("delete", { code: mine }).catch(() => ({ deleted: 0 }));
    forget();
    screen("centred", [h("p", {}, say("rate.deleted", { n: deleted })),
      button(say("rate.restart"), null, () => consentScreen(false))]);
  }

  // ---- the frame --------------------------------------------------------------------------------------------------

  function screen(name, children, act = {}) {
    stage.className = `stage ${name}`;
    title.hidden = name in PROTOCOLS; // leaves more room for the images
    stage.replaceChildren(...children.filter(Boolean));
    keys = act;
    drawFrame();
    const first = name.startsWith("centred") ? stage.querySelector("button.primary") : null;
    if (!["consent", "waiting"].includes(name)) (first ?? stage).focus({ preventScroll: true });
  }

  function drawFrame() {
    const { done, total } = code ? count() : { done: 0, total: 0 };
    bar.hidden = !total;
    bar.replaceChildren(h("progress", { max: total || 1, value: done }), h("span", {}, say("rate.progress", { done, total })));
    const isTrial = current && !current.isPractice;
    const close = (text) => button(text, null, () => question.close());
    drawNotice();
    foot.replaceChildren(...[
      isTrial && button(say("rate.pause"), null, () => showPause(say("rate.paused"))),
      code && button(say("rate.instructions"), null, () => dialog(instructions(), close(say("rate.close")))),
      code && button(say("rate.delete"), null, () =>
        dialog(say("rate.delete_question"), button(say("rate.delete_yes"), null, deleteAll, { class: "danger" }),
          close(say("rate.delete_no")))),
      about?.owner && button(say("rate.owner"), null, () => owner(root, base)),
    ].filter(Boolean));
  }

  /** Show a problem of the connection or the store as one message; null clears it. */
  function showTrouble(sentence) {
    trouble = sentence;
    if (sentence) refusal = null;
    drawNotice();
  }

  function showRefusal(sentence) {
    refusal = sentence;
    drawNotice();
  }

  function drawNotice() {
    const unsent = box?.pending().filter(({ name }) => name === "answer").length ?? 0;
    const hope = unsent ? say("rate.unsent", { n: unsent }) : say("rate.retrying");
    notice.textContent = trouble ? `${trouble} ${hope}` : refusal;
  }

  function onKeyDown(event) {
    const elsewhere = root.offsetParent === null || question.open || event.target.closest("input, textarea, select, [role=tab]");
    const native = event.key === "Enter" && event.target.tagName === "BUTTON";
    if (elsewhere || native || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) act();
  }
}
