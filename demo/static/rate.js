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
    screen("waiting", [h("p", { class: "quiet" }, "Loading the study…")]);
    about = await server.ask("about");
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
    if (!ready.length && !exhausted) screen("waiting", [h("p", { class: "quiet" }, "Loading the next images…")]);
    while (!ready.length && !exhausted && code) await refill();
    if (current || !code) return; // undo was onKeyDown, or the answers were deleted
    if (!ready.length) return showEnd();
    show(ready.shift(), choose);
    refill();
  }

  async function show(item, chosen, heading) {
    current = item;
    item.since = null;
    if (!item.isLoaded) screen("waiting", [h("p", { class: "quiet" }, "Loading the images…")]);
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
    if (about.pause && done % about.pause === 0 && done < total) showPause(`${done} of ${total} done. Please take a short pause.`);
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

  // ---- the other screens ------------------------------------------------------------------------------------------

  function consentScreen(again) {
    const agree = button("I agree, start", null, () => {
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
      h("p", { class: "text" }, about.instructions),
      h("p", { class: "quiet" }, `${about.session} ${about.session === 1 ? "judgement" : "judgements"}, after a short practice. `,
        "You can stop and come back at any time in this browser, take answers back, and delete them all."),
      h("h3", {}, again ? "Please read this again: the text has changed, or your answers were deleted" : "Before you start"),
      h("div", { class: "text sheet" }, about.consent, h("small", {}, `Version ${about.version}`)),
      store.lasts ? null : h("p", { class: "quiet" }, "This browser does not store data for this page: please finish without closing it."),
      h("div", { class: "row" }, agree, button("No, thank you", null, declined)),
    ]);
  }

  function declined() {
    const back = button("I have changed my mind", null, () => consentScreen(false));
    screen("centred", [h("p", {}, "Nothing was stored."), back]);
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
        return screen("centred", [h("p", {}, "The practice is finished. Your answers are recorded from now on."),
          button("Start", null, advance, { class: "primary" })]);
      }
      const heading = h("p", { class: "practice" }, `Practice ${i + 1} of ${items.length}, not recorded`);
      show(items[i], (choice) => explain(items[i], choice, () => next(i + 1)), heading);
    };
    next(0);
  }

  function explain(item, choice, go) {
    item.since = null;
    const onward = button("Continue", null, go, { class: "primary" });
    stage.querySelector(".controls").replaceChildren(feedback(item, choice), onward);
    stage.querySelector(".tools").remove();
    onward.focus({ preventScroll: true });
    keys = {};
  }

  function showPause(sentence) {
    requeue();
    const back = canUndo();
    const onward = button("Continue", null, advance, { class: "primary" });
    screen("centred", [h("p", {}, sentence), h("p", { class: "quiet" }, "Rest your eyes for a moment."),
      h("div", { class: "row" }, onward, back && button("Undo last answer", "Z", undo))], back ? { z: undo } : {});
  }

  async function showEnd() {
    const mine = code;
    screen("centred", [h("p", { class: "quiet" }, "Sending your last answers…")]);
    await send();
    const own = code === mine && (await server.ask("agreement", { code }, () => code === mine).catch(() => null));
    if (!own || code !== mine || current) return;
    const back = history().length > 0;
    screen("centred thanks", [h("h3", {}, "Thank you!"), raterStatistics(own),
      h("p", { class: "quiet" }, "You have completed all trials. Your answers are stored; you can close the page."),
      back && button("Undo last answer", "Z", undo)], back ? { z: undo } : {});
  }

  function showError(sentence) {
    screen("centred", [h("p", {}, sentence), button("Start again", null, () => (forget(), consentScreen(false)))]);
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
    screen("centred", [h("p", { class: "quiet" }, "Deleting…")]);
    const { deleted } = await server.ask("delete", { code: mine }).catch(() => ({ deleted: 0 }));
    forget();
    const what = deleted === 1 ? "Your 1 answer is" : `Your ${deleted} answers are`;
    screen("centred", [h("p", {}, `${what} deleted, and your code was removed from this browser.`),
      button("Start again", null, () => consentScreen(false))]);
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
    bar.replaceChildren(h("progress", { max: total || 1, value: done }), h("span", {}, `${done} of ${total}`));
    const isTrial = current && !current.isPractice;
    const close = (text) => button(text, null, () => question.close());
    drawNotice();
    foot.replaceChildren(...[
      isTrial && button("Pause", null, () => showPause("Paused.")),
      code && button("Instructions", null, () => dialog(about.instructions, close("Close"))),
      code && button("Delete my answers", null, () =>
        dialog("Delete all your answers permanently?", button("Delete them", null, deleteAll, { class: "danger" }),
          close("Keep them"))),
      about?.owner && button("For the study's owner", null, () => owner(root, base)),
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
    const kept = unsent === 1 ? "1 answer is" : `${unsent} answers are`;
    const hope = unsent ? `${kept} kept in this browser and will be sent again.` : "Trying again…";
    notice.textContent = trouble ? `${trouble} ${hope}` : refusal;
  }

  function onKeyDown(event) {
    const elsewhere = root.offsetParent === null || question.open || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    const native = event.key === "Enter" && event.target.tagName === "BUTTON";
    if (elsewhere || native || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation(); // arrow keys also switch tabs
    if (!event.repeat) act();
  }
}
