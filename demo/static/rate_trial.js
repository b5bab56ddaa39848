// One trial on the screen: the images, the question, the controls and the keys of each protocol.

const MIN_ANSWER_TIME = 250; // ms, minimum time of an answer: ignores the second click of a double click
const RATINGS = [1, 2, 3, 4, 5]; // absolute category rating of ITU-T P.910, bad to excellent

function button(label, key, act, attributes = {}) {
  return h("button", { type: "button", onclick: act, ...attributes }, label, key && h("kbd", {}, key));
}

function controlGroup(question, ...buttons) {
  return h("div", { class: "controls", role: "group", ...named("aria-label", question) }, ...buttons);
}

// protocol -> question, labels and alternative texts of the images, controls, and keys with their actions
const PROTOCOLS = {
  pairwise(item, choose) {
    const question = "rate.trial.better";
    const choices = [["left", text("rate.trial.choose_left"), null, "ArrowLeft"], ["tie", text("rate.trial.tie"), "T", "t"],
      ["both_bad", text("rate.trial.both_bad"), "B", "b"], ["right", text("rate.trial.choose_right"), null, "ArrowRight"]];
    const act = Object.fromEntries(choices.map(([choice, , , key]) => [key, () => choose(choice)]));
    const buttons = choices.map(([choice, label, key]) => button(label, key, () => choose(choice), { class: choice }));
    const labels = [text("rate.trial.left"), text("rate.trial.right")];
    return { question, labels, alts: [["rate.trial.image_left"], ["rate.trial.image_right"]],
      controls: controlGroup(question, buttons), act };
  },

  rating(item, choose) {
    const question = "rate.trial.quality";
    const act = Object.fromEntries(RATINGS.map((rating) => [rating, () => choose(rating)]));
    const buttons = RATINGS.map((rating) => button(text(`rate.trial.rating_${rating}`), rating, () => choose(rating)));
    return { question, labels: [], alts: [["rate.trial.image_single"]], controls: controlGroup(question, buttons), act };
  },

  ranking(item, choose) {
    const question = "rate.trial.order";
    const order = [];
    const names = item.images.map((_, i) => String.fromCharCode(65 + i)); // A, B, C, ...
    const buttons = names.map((name, i) => button(name, null, () => pick(i)));
    const done = button(text("rate.trial.done"), "Enter", () => finish(), { class: "primary" });
    const finish = () => order.length === names.length && choose([...order]);
    const last = () => Math.min(order.length, names.length - 1) - 1; // position of the last choice; the final image follows automatically
    /** Rank image i next; if it is ranked already, remove it and all ranks after it. */
    function pick(i) {
      if (!order.includes(i)) order.push(i);
      else if (order.indexOf(i) <= last()) return takeBack(order.indexOf(i));
      if (order.length === names.length - 1) order.push(names.findIndex((_, other) => !order.includes(other)));
      draw();
    }
    function takeBack(place) {
      if (place >= 0) order.splice(place);
      draw();
    }
    function draw() {
      buttons.forEach((node, which) => {
        const place = order.indexOf(which);
        node.replaceChildren(names[which], " ", place < 0 ? "" : text(`rate.trial.rank_${place + 1}`, null, "b"));
        node.setAttribute("aria-pressed", place >= 0);
      });
      done.disabled = order.length < names.length;
    }
    done.disabled = true;
    const act = Object.fromEntries(names.map((name, i) => [name.toLowerCase(), () => pick(i)]));
    act.Enter = finish;
    act.Backspace = () => takeBack(last());
    const alts = names.map((label) => ["rate.trial.image", { label }]);
    return { question, labels: names, alts, controls: controlGroup(question, buttons, done), act };
  },
};

/**
 * Start loading the images of a trial: {trial, images, input, loaded, isLoaded, since, spent}. `loaded` resolves when
 * the images can be painted; since: time of the last painting, ms; spent: viewing time before that, ms.
 */
function prepareTrial(trial, base, server, wanted) {
  const load = (image, path) =>
    server.retry(`image ${path}`, () => {
      image.src = `${base}/${path}`;
      return image.decode().catch(() => {
        throw new Error(gpen.text("rate.image_failed"));
      });
    }, wanted);
  const images = trial.images.map(() => h("img", { draggable: "false" }));
  const input = trial.input && h("img", { draggable: "false" });
  const item = { trial, images, input, isLoaded: false, since: null, spent: 0 };
  item.loaded = Promise.all(images.map((image, i) => load(image, trial.images[i]))).then(() => (item.isLoaded = true));
  if (input) load(input, trial.input);
  return item;
}

/** DOM nodes and keys of `item`. `choose(choice)` receives the answer; `undo` is null if nothing can be undone. */
function trialView(item, choose, undo, settings) {
  const { question, labels, alts, controls, act } = PROTOCOLS[item.trial.protocol](item, choose);
  const figures = item.images.map((image, i) => ({ image, label: labels[i], className: "candidate" }));
  const describe = (image, key, values) => {
    for (const [name, value] of Object.entries(named("alt", key, values))) if (value !== null) image.setAttribute(name, value);
  };
  item.images.forEach((image, i) => describe(image, ...alts[i]));
  if (item.input) {
    describe(item.input, "rate.trial.image_input");
    figures.push({ image: item.input, label: text("rate.trial.input"), className: "input" });
  }
  const { element, panes, zoom, resetZoom } = syncedPanes(figures, item.trial.width / item.trial.height);
  item.panes = panes;
  const inputButton = button(text("rate.trial.input"), "I", () => toggleInput(!settings.showInput));
  function toggleInput(on) {
    settings.showInput = on;
    panes.at(-1).hidden = !on;
    inputButton.setAttribute("aria-pressed", on);
    element.style.setProperty("--n", item.images.length + (on ? 1 : 0));
  }
  const [closer, away] = [() => zoom(1.5), () => zoom(1 / 1.5)];
  Object.assign(act, { "+": closer, "=": closer, "-": away, 0: resetZoom });
  if (item.input) {
    act.i = () => toggleInput(!settings.showInput);
    toggleInput(settings.showInput);
  }
  if (undo) act.z = undo;
  const tools = h("div", { class: "tools", role: "group", ...named("aria-label", "rate.trial.tools") },
    undo && button(text("rate.trial.undo"), "Z", undo),
    item.input && inputButton,
    h("span", { class: "zoom" }, button("−", null, away, named("aria-label", "rate.trial.zoom_out")),
      button(text("rate.trial.zoom_reset"), "0", resetZoom), button("+", null, closer, named("aria-label", "rate.trial.zoom_in"))));
  return { nodes: [text(question, null, "h2", { class: "question", tabindex: "-1" }), element, controls, tools], act };
}

/** Feedback after a practice trial; the better image is marked. */
function feedback(item, choice) {
  const { better, scores, why } = item.trial;
  const right = scores ? scores.includes(choice) : [["left", "right"][better], better].includes([choice].flat()[0]);
  item.panes[better]?.classList.add("better");
  const reason = gpen.language() === "en" ? why : text(scores ? "rate.trial.why_low" : "rate.trial.why_better");
  return h("p", { class: right ? "why right" : "why", role: "status" },
    right ? text("rate.trial.correct", null, "b") : text("rate.trial.incorrect", null, "b"), " ", reason);
}

/** Statistics of the rater for the last screen. */
function raterStatistics(own) {
  const tiles = [
    [own.answers, text("rate.own.answers", { n: own.answers })],
    own.repeats && [text("rate.own.share", { k: own.consistent, total: own.repeats }), text("rate.own.repeats")],
    own.golds && [text("rate.own.share", { k: own.passed, total: own.golds }), text("rate.own.golds")],
    own.compared && [`${Math.round(100 * own.others)}%`, text("rate.own.others", { n: own.compared })],
  ];
  return h("dl", {}, tiles.filter(Boolean).map(([figure, what]) => h("div", {}, h("dt", {}, figure), h("dd", {}, what))));
}

/**
 * Call the action of a pressed key in keys(), which maps keys to actions, before other handlers of the page. Keys in another
 * tab, in the open dialog, in a field and Enter on a button keep their meaning.
 */
function actOnKeys(root, dialog, keys) {
  const onKeyDown = (event) => {
    const elsewhere = root.offsetParent === null || dialog.open || event.target.closest("input, textarea, select, [role=tab]");
    const native = event.key === "Enter" && event.target.tagName === "BUTTON";
    if (elsewhere || native || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys()[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation(); // arrow keys also switch tabs
    if (!event.repeat) act();
  };
  document.addEventListener("keydown", onKeyDown, true);
}
