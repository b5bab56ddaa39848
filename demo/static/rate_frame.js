// The frame of the Rate tab: title, progress, notices, the screen, the footer, dialogs, keys. rate.js has what it shows.

/**
 * Build the frame in `root`. state() returns {done, total, unsent, footer}: answered trials, all trials, answers that are not sent,
 * and the name of the footer; a new name replaces its buttons by those of buttons().
 */
function rateFrame(root, state, buttons) {
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
  actOnKeys(root, question, () => keys);

  function screen(name, children, act = {}) {
    stage.className = `stage ${name}`;
    title.hidden = name in PROTOCOLS || name === "unknown"; // leaves more room for the images
    stage.replaceChildren(...children.filter(Boolean));
    keys = act;
    draw();
    const first = name.startsWith("centred") ? stage.querySelector("button.primary") : null;
    if (!["consent", "waiting"].includes(name)) (first ?? stage.querySelector(".question") ?? stage).focus({ preventScroll: true });
  }

  function waiting(key) {
    screen("waiting", [text(key, null, "p", { class: "quiet", role: "status" })]);
  }

  function draw() {
    const { done, total, footer } = state();
    bar.hidden = !total;
    Object.assign(meter, { max: total || 1, value: done });
    const shown = text("rate.progress", { done, total });
    if (amount.textContent !== shown.textContent) amount.replaceChildren(shown); // announced only when it changes
    drawNotice();
    if (foot.dataset.buttons === footer) return; // keeps the focus on a button
    foot.dataset.buttons = footer;
    foot.replaceChildren(...buttons().filter(Boolean));
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
    const { unsent } = state();
    const hope = unsent ? gpen.text("rate.kept", { n: unsent }) : gpen.text("rate.retrying");
    notice.textContent = trouble ? `${trouble} ${hope}` : refusal;
  }

  function dialog(content, ...answers) {
    question.replaceChildren(h("p", { class: "text", id: "rate-dialog" }, content), h("div", { class: "row" }, answers));
    question.showModal();
  }

  /** Replace the controls of a practice trial by an explanation and a button; no other key acts then. */
  function explain(explanation, onward) {
    stage.querySelector(".controls").replaceChildren(explanation, onward);
    stage.querySelector(".tools").remove();
    onward.focus({ preventScroll: true });
    keys = {};
  }

  const closeDialog = () => question.close();
  return { screen, waiting, draw, showTrouble, showRefusal, dialog, closeDialog, explain, setTitle: (node) => title.replaceChildren(node) };
}
