// The Rate tab in the browser: consent, practice, trials, pause, end. demo/tabs/rate.py serves its requests.
//
// The next trials are fetched, and their images decoded, while the rater looks at the current one, so that raters do not
// wait for the server. Answers are stored in the outbox until the server has confirmed them.

const MIN_ANSWER_TIME = 250; // ms, minimum time of an answer: ignores the second click of a double click
const PREFETCH = 4; // trials loaded in advance, enough for a short loss of connection
const MAX_UNDO = 20; // answers that can be undone, also after a reload
const CONFIRM = 60_000; // ms, between two questions whether sent answers are safe

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
  const meter = h("progress", named("aria-label", "rate.progress_label"));
  const amount = h("div", { "aria-live": "polite" });
  const bar = h("div", { class: "progress" }, meter, amount);
  const stage = h("div", { class: "stage", tabindex: "-1" });
  const foot = h("footer");
  const question = h("dialog", { "aria-labelledby": "rate-dialog" });
  const title = root.querySelector("h2");
  root.replaceChildren(title, bar, notice, stage, foot, question);
  document.addEventListener("keydown", onKeyDown, true);
  begin();
  setInterval(confirmSent, CONFIRM);

  async function begin() {
    waiting("rate.loading_study");
    about = await server.ask("about");
    title.replaceChildren(studyText(about.title, "rate.study.title"));
    if ((linkedStudy() ?? about.study) !== about.study) {
      screen("unknown", unknownStudy(linkedStudy(), [{ study: about.study, title: studyText(about.title, "rate.study.title") }]));
      title.hidden = true;
      return;
    }
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
      refusal = null;
      drawFrame();
    };
    const refused = (error, entry) => {
      if (!entry) return refuseRater(error);
      answered.delete(entry.body.trial);
      showRefusal(error.message);
    };
    return box.flush(server.ask, done, refused, () => code !== null && code === mine).then(drawFrame);
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
    if (current || !code) return; // undo was onKeyDown, or the answers were deleted
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
    drawFrame();
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
          showRefusal(error.message);
        });
    }, { class: "primary" });
    screen("consent", [
      h("p", { class: "text" }, instructions()),
      text("rate.session", { n: about.session }, "p", { class: "quiet" }),
      again ? text("rate.again", null, "h3") : text("rate.before", null, "h3"),
      h("div", { class: "text sheet" }, studyText(about.consent, "rate.study.consent"),
        text("rate.version", { version: about.version }, "small")),
      store.lasts ? null : text("rate.no_storage", null, "p", { class: "quiet" }),
      about.login === false
        ? h("div", {}, loginNodes())
        : h("div", { class: "row" }, agree, button(text("rate.decline"), null, declined)),
    ]);
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
    stage.querySelector(".controls").replaceChildren(feedback(item, choice), onward);
    stage.querySelector(".tools").remove();
    onward.focus({ preventScroll: true });
    keys = {};
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

  function dialog(content, ...buttons) {
    question.replaceChildren(h("p", { class: "text", id: "rate-dialog" }, content), h("div", { class: "row" }, buttons));
    question.showModal();
  }

  async function deleteAll() {
    const mine = code;
    question.close();
    code = current = null; // stops all pending requests
    screen("centred", [text("rate.deleting", null, "p", { class: "quiet" })]);
    const { deleted } = await server.ask("delete", { code: mine }).catch(() => ({ deleted: 0 }));
    forget();
    screen("centred", [text("rate.deleted", { n: deleted }, "p"), startAgain()]);
  }

  // ---- the frame --------------------------------------------------------------------------------------------------

  function waiting(key) {
    screen("waiting", [text(key, null, "p", { class: "quiet", role: "status" })]);
  }

  /** A text of the study; the standard one of eval/preference/build.py is shown in the language of the visitor. */
  function studyText(given, key) {
    return given === window.gradio_config?.i18n_translations?.en?.[key] ? text(key) : given;
  }

  const instructions = () => studyText(about.instructions, `rate.study.instructions_${about.protocol}`);

  function screen(name, children, act = {}) {
    stage.className = `stage ${name}`;
    title.hidden = name in PROTOCOLS; // leaves more room for the images
    stage.replaceChildren(...children.filter(Boolean));
    keys = act;
    drawFrame();
    const first = name.startsWith("centred") ? stage.querySelector("button.primary") : null;
    if (!["consent", "waiting"].includes(name)) (first ?? stage.querySelector(".question") ?? stage).focus({ preventScroll: true });
  }

  function drawFrame() {
    const { done, total } = code ? count() : { done: 0, total: 0 };
    bar.hidden = !total;
    Object.assign(meter, { max: total || 1, value: done });
    const shown = text("rate.progress", { done, total });
    if (amount.textContent !== shown.textContent) amount.replaceChildren(shown); // announced only when it changes
    drawNotice();
    const isTrial = Boolean(current && !current.isPractice);
    const buttons = `${isTrial} ${Boolean(code)}`;
    if (foot.dataset.buttons === buttons) return; // keeps the focus on a button
    foot.dataset.buttons = buttons;
    const close = (label) => button(label, null, () => question.close());
    foot.replaceChildren(...[
      isTrial && button(text("rate.pause"), null, () => showPause(text("rate.paused", null, "p"))),
      code && button(text("rate.instructions"), null, () => dialog(instructions(), close(text("page.close")))),
      code && button(text("rate.delete"), null, () =>
        dialog(text("rate.delete_question"), button(text("rate.delete_yes"), null, deleteAll, { class: "danger" }),
          close(text("rate.delete_no")))),
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
    const hope = unsent ? gpen.text("rate.kept", { n: unsent }) : gpen.text("rate.retrying");
    notice.textContent = trouble ? `${trouble} ${hope}` : refusal;
  }

  function onKeyDown(event) {
    const elsewhere = root.offsetParent === null || question.open || event.target.closest("input, textarea, select, [role=tab]");
    const native = event.key === "Enter" && event.target.tagName === "BUTTON";
    if (elsewhere || native || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation(); // arrow keys also switch tabs
    if (!event.repeat) act();
  }
}
