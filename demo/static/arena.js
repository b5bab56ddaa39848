// The Arena tab in the browser: damage a face, compare two restorations without their names, see which methods they were.
// demo/tabs/arena.py serves its requests. A photo of the visitor is only in the memory of this page and in the requests.

const LARGEST_UPLOAD = 1600; // px; a larger photo is reduced before it is sent
const SLIDERS = { // parameter of the degradation -> name of its texts, step, value that turns it off
  blur_sigma: ["blur", 0.05, 0], scale: ["scale", 0.05, 1], noise_sigma: ["noise", 0.1, 0], jpeg_quality: ["jpeg", 1, 101],
};

function arena(root) {
  const server = connection(`${window.gradio_config?.root ?? ""}/study/arena`, showTrouble);
  const store = browserStorage("gpen.arena.");
  const outcomes = new Map(); // id of a vote -> what its answer reveals
  let about, degradation; // what the server offers, the chosen damage
  let box, refused; // the outbox of the votes; the error that refused the visitor, for all calls that wait for one sending
  let face; // {value: name of a sample face or data URI, name}
  let done = 0; // votes of the visitor
  let agreed = false; // whether the server has the consent to the current text
  let keys = {}; // key -> action of the current pair
  let previewed = 0; // number of the newest preview
  let [trouble, refusal] = [null, null];

  const title = root.querySelector("h2");
  const notice = h("p", { class: "notice", role: "status" });
  const stage = h("div", { class: "stage", tabindex: "-1" });
  const foot = h("footer");
  const question = h("dialog", { "aria-labelledby": "arena-dialog" });
  root.append(notice, stage, foot, question);
  actOnKeys(root, question, () => keys);
  begin();

  async function begin() {
    about = await server.ask("about");
    box = outbox(store, about.copies);
    degradation = about.start;
    face = sampleFace(about.faces[0]);
    const code = store.get("code");
    const state = code && (await server.call("resume", { code }).catch(() => null));
    if (state?.deleted) store.clear();
    agreed = Boolean(state?.consented);
    done = agreed ? state.done : 0;
    bench();
    const keep = () => keepVotes().catch(() => null); // tried again
    keep();
    setInterval(keep, CONFIRM);
  }

  const sampleFace = ({ name, person }) => ({ value: name, name: person });

  // ---- the damage ---------------------------------------------------------------------------------------------------

  function bench() {
    keys = {};
    title.hidden = false;
    const image = h("img", { draggable: "false", ...named("alt", "arena.preview") });
    const preview = h("figure", { class: "preview" }, h("div", { class: "pane" }, image), faceNote());
    const sliders = h("div", { class: "sliders" }, Object.keys(SLIDERS).map((name) => slider(name, update)));
    const faces = h("div", { class: "faces", role: "group", ...named("aria-label", "arena.face") }, about.faces.map((sample) =>
      h("button", { type: "button", class: "face", "aria-pressed": String(face.value === sample.name), title: sample.person,
        onclick: () => choose(sampleFace(sample)) }, h("img", { src: sample.image, alt: sample.person }))), upload());
    const looks = h("div", { class: "row looks", role: "group", ...named("aria-label", "arena.damage") }, about.looks.map((look, i) =>
      button(lookName(look), null, () => useLook(i))));
    const go = button(text("arena.compare"), null, () => fight(go), { class: "primary go" });
    stage.className = "stage bench";
    stage.replaceChildren(text("arena.intro", { n: about.methods }, "p", { class: "quiet intro" }), preview,
      h("div", { class: "settings" }, text("arena.face", null, "h3"), faces, text("arena.damage", null, "h3"), looks, sliders, go));
    drawFoot();
    update();

    /** Show the damaged face; while an older preview is computed, only the newest one follows. */
    async function update() {
      const mine = ++previewed;
      await sleep(60);
      const result = mine === previewed && (await server.ask("damage", { face: face.value, degradation }, () => mine === previewed)
        .catch((error) => showRefusal(error.message)));
      if (result && mine === previewed) image.src = result.image;
    }

    async function useLook(look) {
      const result = await server.ask("look", { look }).catch((error) => showRefusal(error.message));
      if (!result) return;
      degradation = result.degradation;
      bench();
      stage.querySelectorAll(".looks button")[look]?.focus({ preventScroll: true });
    }
  }

  function lookName(look) {
    const [name] = gpen.text(`playground.first.looks.${look}`).split("\n");
    return name;
  }

  function choose(chosen) {
    face = chosen;
    showRefusal(null);
    bench();
  }

  function faceNote() {
    const own = face.faces === 0 ? text("arena.no_face") : face.faces > 1 ? text("arena.several", { n: face.faces }) : null;
    return h("figcaption", {}, h("span", { role: "status" }, face.name ?? text("arena.own"), ...(own ? [". ", own] : []),
      ...(face.faces === undefined ? [] : [own ? " " : ". ", text("arena.never_stored")])));
  }

  function upload() {
    const file = h("input", { type: "file", accept: "image/*", hidden: true, onchange: () => file.files[0] && take(file.files[0]) });
    return [button(text("arena.upload"), null, () => file.click(), { class: "upload", "aria-pressed": String(face.faces !== undefined) }), file];

    async function take(photo) {
      const body = await reduced(photo);
      file.value = "";
      const result = await server.ask("face", body).catch((error) => showRefusal(error.message));
      if (result) choose({ value: result.face, faces: result.faces });
    }
  }

  /** A photo as JPEG of at most LARGEST_UPLOAD px a side, without its metadata; the file itself if the browser cannot read it. */
  async function reduced(photo) {
    const bitmap = await createImageBitmap(photo).catch(() => null);
    if (!bitmap) return photo;
    const factor = Math.min(1, LARGEST_UPLOAD / Math.max(bitmap.width, bitmap.height));
    const canvas = h("canvas", { width: Math.round(factor * bitmap.width), height: Math.round(factor * bitmap.height) });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return new Promise((ready) => canvas.toBlob((blob) => ready(blob ?? photo), "image/jpeg", 0.95));
  }

  /** A slider with its name, unit and value; the end that turns the step off is named so. */
  function slider(name, changed) {
    const [term, step, off] = SLIDERS[name];
    const [low, high] = about.ranges[name];
    const value = h("output");
    const box = h("input", { type: "range", min: low, max: name === "jpeg_quality" ? off : high, step,
      value: degradation[name] ?? off, ...named("aria-label", `playground.first.controls.${term}_name`), oninput: () => {
        degradation = { ...degradation, [name]: Number(box.value) === off ? null : Number(box.value) };
        draw();
        changed();
      } });
    const draw = () => {
      const isOff = Number(box.value) === off;
      value.replaceChildren(isOff ? text("arena.off") : String(Math.round(100 * box.value) / 100));
      box.setAttribute("aria-valuetext", value.textContent);
    };
    draw();
    return h("label", { class: term }, text(`playground.first.controls.${term}_name`, null, "span"), value, box);
  }

  // ---- a pair -------------------------------------------------------------------------------------------------------

  async function fight(pressed) {
    if (pressed) pressed.disabled = true;
    if (!isVisitor() && !(await consent())) return pressed && (pressed.disabled = false);
    showRefusal(null);
    waiting();
    const trial = await asVisitor(async () => {
      await keepVotes(); // the next pair depends on the number of votes
      return server.ask("battle", { code: store.get("code"), face: face.value, degradation });
    });
    if (trial) showPair({ ...trial, protocol: "pairwise" });
    else bench();
  }

  /** Send the votes that the browser keeps, those too that the server has lost. Rejects with the error that refuses the visitor. */
  async function keepVotes() {
    if (!isVisitor()) return;
    await box.confirm((ids) => server.ask("unconfirmed", { code: store.get("code"), ids }, isVisitor)).catch(() => null);
    await sendVotes();
  }

  async function sendVotes() {
    const send = async (name, vote) => {
      const outcome = await server.ask(name, vote, isVisitor);
      if (outcome) outcomes.set(vote.id, outcome);
      return outcome;
    };
    const sent = (outcome) => {
      done = outcome.done;
      drawFoot();
    };
    const failed = (error, vote) => (vote ? showRefusal(error.message) : (refused = error));
    refused = null;
    await box.flush(send, sent, failed, isVisitor);
    if (refused) throw refused;
  }

  /**
   * Make an attempt with the code of the visitor. Where the server has not the consent, ask for it, and try again with the same
   * code, so that the visitor can delete earlier votes too. Otherwise show the reason and resolve with null.
   */
  async function asVisitor(attempt) {
    while (isVisitor() || (await consent())) {
      try {
        return await attempt();
      } catch (error) {
        agreed &&= ![NEEDS_CONSENT, DELETED].includes(error.status);
        if (error.status === DELETED) store.clear();
        if (error.status !== NEEDS_CONSENT) return showRefusal(error.message);
        const { version } = await server.ask("about");
        if (version !== about.version) return location.reload(); // the server has a newer text than this page
      }
    }
    return null;
  }

  function waiting() {
    stage.className = "stage waiting";
    stage.replaceChildren(text("arena.restoring", null, "p", { class: "quiet", role: "status" }));
  }

  const isVisitor = () => agreed && store.get("code") !== null;

  /** Ask for the consent; resolves with the code, which the server issues unless there is one, or null. */
  function consent() {
    return new Promise((ready) => {
      const finish = (code) => (question.close(), ready(code));
      const agree = button(text("rate.agree"), null, async () => {
        agree.disabled = true;
        const result = await server.ask("consent", { code: store.get("code") }).catch((error) => {
          if (error.status === DELETED) store.clear();
          return showRefusal(error.message);
        });
        if (!result) return finish(null);
        store.set("code", result.code);
        [agreed, done] = [true, result.done];
        finish(result.code);
      }, { class: "primary" });
      question.replaceChildren(text("arena.consent_heading", null, "h3", { id: "arena-dialog" }), text("arena.consent", null, "p"),
        text("rate.version", { version: about.version }, "p", { class: "quiet" }),
        h("div", { class: "row" }, agree, button(text("rate.decline"), null, () => finish(null))));
      question.oncancel = () => ready(null);
      question.showModal();
    });
  }

  async function showPair(trial) {
    const load = (uri) => {
      const image = h("img", { draggable: "false", src: uri });
      return image.decode().then(() => image);
    };
    const [images, input] = [await Promise.all(trial.images.map(load)), await load(trial.input)];
    const item = { trial, images, input };
    let since = Infinity;
    const view = trialView(item, async (choice) => {
      const ms = Math.round(performance.now() - since);
      if (!(ms >= MIN_ANSWER_TIME)) return;
      since = Infinity; // one answer
      keys = {};
      const id = uniqueId();
      box.add("answer", { code: store.get("code"), id, ticket: trial.trial, choice, ms });
      await asVisitor(sendVotes);
      if (outcomes.has(id)) reveal(item, choice, outcomes.get(id));
      else bench(); // the vote was refused, or the consent was
    }, null, { showInput: true });
    stage.className = "stage pairwise";
    title.hidden = true; // leaves more room for the images
    stage.replaceChildren(...view.nodes);
    keys = view.act;
    drawFoot();
    stage.querySelector(".question").focus({ preventScroll: true });
    await painted();
    since = performance.now();
  }

  /** Name the methods on the images, and offer the next pair. */
  function reveal(item, choice, { shown, gold }) {
    const golds = { "gold:better": "arena.gold_better", "gold:worse": "arena.gold_worse" };
    const name = (method) => (golds[method] ? text(golds[method], null, "b") : h("b", {}, method));
    shown.forEach((method, i) => {
      item.panes[i].querySelector("figcaption").replaceChildren(name(method));
      item.panes[i].classList.toggle("better", choice === ["left", "right"][i]);
    });
    const chosen = shown[["left", "right"].indexOf(choice)];
    const said = chosen ? text("arena.you_chose", { name: golds[chosen] ? gpen.text(golds[chosen]) : chosen })
      : text(choice === "tie" ? "arena.you_tied" : "arena.you_rejected");
    const next = button(text("arena.another"), "N", () => fight(), { class: "primary" });
    stage.querySelector(".question").replaceChildren(said);
    stage.querySelector(".controls").replaceChildren(gold ? text("arena.control", null, "p", { class: "why" }) : "",
      next, button(text("arena.change"), "C", bench));
    keys = { n: () => fight(), c: bench };
    drawFoot();
    next.focus({ preventScroll: true });
  }

  // ---- the frame ----------------------------------------------------------------------------------------------------

  function drawFoot() {
    foot.replaceChildren(...(done ? [text("arena.votes", { n: done }, "small"), text("arena.board", null, "a", { href: "?tab=leaderboard" }),
      button(text("arena.delete"), null, askToDelete)] : [text("arena.board", null, "a", { href: "?tab=leaderboard" })]));
  }

  function askToDelete() {
    question.replaceChildren(text("arena.delete_question", null, "p", { id: "arena-dialog" }), h("div", { class: "row" },
      button(text("rate.delete_yes"), null, deleteAll, { class: "danger" }), button(text("rate.delete_no"), null, () => question.close())));
    question.showModal();
  }

  async function deleteAll() {
    question.close();
    const result = await server.ask("delete", { code: store.get("code") }).catch((error) => showRefusal(error.message));
    if (!result) return;
    store.clear();
    [agreed, done] = [false, 0];
    bench();
    showRefusal(text("arena.deleted", { n: result.deleted }));
  }

  /** Show a problem of the connection, which is tried again; null clears it. */
  function showTrouble(sentence) {
    trouble = sentence && `${sentence} ${gpen.text("rate.retrying")}`;
    notice.replaceChildren(trouble ?? refusal ?? "");
  }

  /** Show why a request was refused, or another message, until the next one; null clears it. */
  function showRefusal(message) {
    refusal = message;
    notice.replaceChildren(trouble ?? refusal ?? "");
    return null;
  }
}
