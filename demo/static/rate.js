// The Rate tab in the browser: consent, practice, trials, pause, end. demo/tabs/rate.py serves its requests.
//
// The next trials are fetched, and their images decoded, while the rater looks at the current one, so that raters do not
// wait for the server. Answers are stored in the outbox until the server has confirmed them.

const PREFETCH = 4; // trials loaded in advance, enough for a short loss of connection
const MAX_UNDO = 20; // answers that can be undone, also after a reload

function rate(root) {
  const base = `${window.gradio_config?.root ?? ""}/study`;
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
  const frame = rateFrame(root, state, footerButtons);
  const { screen, waiting } = frame;
  const server = connection(base, frame.showTrouble);
  begin();
  setInterval(confirmSent, CONFIRM);

  async function begin() {
    waiting("rate.loading_study");
    about = await server.ask("about");
    frame.setTitle(studyText(about.title, "rate.study.title"));
    if ((linkedStudy() ?? about.study) !== about.study) return screen("unknown", unknownStudy([about]));
    store = browserStorage(`gpen.rate.${about.study}.`);
    box = outbox(store, about.copies);
    const known = store.get("code");
    const state = known && about.login !== false && (await server.ask("resume", { code: known }).catch(() => null));
    if (state?.deleted) store.clear();
    if (!state?.consented) return consentScreen(Boolean(known));
    enter(known, state.progress);
  }

  function enter(newCode, newProgress) {
    code = newCode;
    progress = newProgress;
    if (!progress.done && !box.pending().length) store.remove("history"); // nothing to undo
    send();
    confirmSent();
    if (store.get("practised")) advance();
    else practice();
    refill();
  }

  // ---- requests -----------------------------------------------------------------------------------------------------

  function send() {
    const mine = code;
    const done = (result) => {
      progress = result.progress;
      frame.showRefusal(null);
      frame.draw();
    };
    const refused = (error, entry) => {
      if (!entry) return refuseRater(error);
      answered.delete(entry.body.trial);
      frame.showRefusal(error.message);
    };
    return box.flush(server.ask, done, refused, () => code !== null && code === mine).then(frame.draw);
  }

  /** Ask whether the sent answers are safe, and send those again that the server has lost. */
  async function confirmSent() {
    const mine = code;
    if (!mine) return;
    const ask = (ids) => server.ask("unconfirmed", { code: mine, ids }, () => code === mine);
    await box.confirm(ask).catch(() => null); // asked again later
    if (code === mine && box.pending().length) send();
  }

  /** The server refuses the rater until a consent or a login; all answers and the code stay in the browser. */
  function refuseRater(error) {
    if (!code) return;
    code = current = null; // stops all pending requests
    [ready, answered, exhausted, filling] = [[], new Set(), false, null];
    if (error.status === NEEDS_CONSENT) consentScreen(true);
    else if (error.status === NEEDS_LOGIN) begin();
    else screen("centred", [h("p", {}, error.message), startAgain()]);
  }

  const startAgain = () => button(text("rate.start_again"), null, () => (forget(), consentScreen(false)));

  /** Fetch trials until PREFETCH of them are loaded or loading. */
  function refill() {
    filling ??= fill().catch((error) => (error.keepsAnswers ? refuseRater(error) : showError(error.message)))
      .finally(() => (filling = null));
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
      exhausted = trials.length === 0 && (!unsent.length || count().done >= count().total);
      ready.push(...fresh.map(prepare));
      if (!fresh.length && !exhausted) await sleep(500); // wait until the server has stored the last answers
    }
  }

  function prepare(trial) {
    const mine = code;
    return prepareTrial(trial, base, server, () => code === mine);
  }

  // ---- trials -----------------------------------------------------------------------------------------------------

  async function advance() {
    current = null;
    if (!ready.length && !exhausted) waiting("rate.loading_next");
    while (!ready.length && !exhausted && code) await refill();
    if (current || !code) return; // undo was pressed, or the answers were deleted
    if (!ready.length) return showEnd();
    show(ready.shift(), choose);
    refill();
  }

  async function show(item, chosen, heading) {
    current = item;
    item.since = null;
    if (!item.isLoaded) waiting("rate.loading_images");
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
    frame.draw();
    const { done, total } = count();
    if (about.pause && done % about.pause === 0 && done < total) showPause(text("rate.take_pause", { done, total }, "p"));
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
    frame.draw();
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
    const agree = button(text("rate.agree"), null, () => {
      agree.disabled = true;
      const consent = async (mine) => {
        const { progress } = await server.ask("consent", { code: mine });
        store.set("code", mine);
        enter(mine, progress);
      };
      consent(store.get("code") ?? uniqueId())
        .catch((error) => {
          if (error.status !== DELETED) throw error;
          store.clear();
          return consent(uniqueId()); // the answers of this rater were deleted: use a new code
        })
        .catch((error) => {
          agree.disabled = false;
          frame.showRefusal(error.message);
        });
    }, { class: "primary" });
    const decline = button(text("rate.decline"), null, declined);
    screen("consent", consentNodes(about, again, store.lasts, agree, decline));
  }

  function declined() {
    const back = button(text("rate.changed_mind"), null, () => consentScreen(false));
    screen("centred", [text("rate.nothing_stored", null, "p"), back]);
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
        return screen("centred", [text("rate.practice_done", null, "p"), button(text("rate.start"), null, advance, { class: "primary" })]);
      }
      const heading = text("rate.practice", { k: i + 1, total: items.length }, "p", { class: "practice" });
      show(items[i], (choice) => explain(items[i], choice, () => next(i + 1)), heading);
    };
    next(0);
  }

  function explain(item, choice, go) {
    item.since = null;
    const onward = button(text("rate.continue"), null, go, { class: "primary" });
    frame.explain(feedback(item, choice), onward);
  }

  function showPause(sentence) {
    requeue();
    const back = canUndo();
    const onward = button(text("rate.continue"), null, advance, { class: "primary" });
    screen("centred", [sentence, text("rate.rest", null, "p", { class: "quiet" }),
      h("div", { class: "row" }, onward, back && button(text("rate.undo_last"), "Z", undo))], back ? { z: undo } : {});
  }

  async function showEnd() {
    const mine = code;
    screen("centred", [text("rate.sending", null, "p", { class: "quiet" })]);
    await send();
    confirmSent();
    const own = code === mine && (await server.ask("agreement", { code }, () => code === mine).catch(() => null));
    if (!own || code !== mine || current) return;
    const back = history().length > 0;
    screen("centred thanks", [text("rate.thanks", null, "h3"), raterStatistics(own), text("rate.completed", null, "p", { class: "quiet" }),
      h("div", { class: "row" }, back && button(text("rate.undo_last"), "Z", undo), wholePage())], back ? { z: undo } : {});
  }

  function showError(sentence) {
    screen("centred", [h("p", {}, sentence), button(text("rate.try_again"), null, begin, { class: "primary" })]);
  }

  function forget() {
    code = current = null;
    store.clear();
    [ready, answered, exhausted, filling] = [[], new Set(), false, null];
    progress = { done: 0, total: 0 };
  }

  async function deleteAll() {
    const mine = code;
    frame.closeDialog();
    code = current = null; // stops all pending requests
    screen("centred", [text("rate.deleting", null, "p", { class: "quiet" })]);
    const { deleted } = await server.ask("delete", { code: mine }).catch(() => ({ deleted: 0 }));
    forget();
    screen("centred", [text("rate.deleted", { n: deleted }, "p"), startAgain()]);
  }

  // ---- for the frame ----------------------------------------------------------------------------------------------

  /** What the frame shows besides the screen. */
  function state() {
    const unsent = box?.pending().filter(({ name }) => name === "answer").length ?? 0;
    const isTrial = Boolean(current && !current.isPractice);
    return { ...(code ? count() : { done: 0, total: 0 }), unsent, footer: `${isTrial} ${Boolean(code)}` };
  }

  function footerButtons() {
    const close = (label) => button(label, null, frame.closeDialog);
    return [
      current && !current.isPractice && button(text("rate.pause"), null, () => showPause(text("rate.paused", null, "p"))),
      code && button(text("rate.instructions"), null, () => frame.dialog(instructionsOf(about), close(text("page.close")))),
      code && button(text("rate.delete"), null, () =>
        frame.dialog(text("rate.delete_question"), button(text("rate.delete_yes"), null, deleteAll, { class: "danger" }),
          close(text("rate.delete_no")))),
    ];
  }
}
