// One trial on the screen: the images, the question, the controls and the keys of each protocol.

// 1 to 5: absolute category rating of ITU-T P.910
const RATING_KEYS = ["rate.trial.bad", "rate.trial.poor", "rate.trial.fair", "rate.trial.good", "rate.trial.excellent"];

function button(text, key, act, attributes = {}) {
  return h("button", { type: "button", onclick: act, ...attributes }, text, key && h("kbd", {}, key));
}

// protocol -> question, labels of the images, controls, and keys with their actions
const PROTOCOLS = {
  pairwise(item, choose) {
    const choices = [["left", `← ${say("rate.trial.left")}`, null, "ArrowLeft"], ["tie", say("rate.trial.tie"), "T", "t"],
      ["both_bad", say("rate.trial.both_bad"), "B", "b"], ["right", `${say("rate.trial.right")} →`, null, "ArrowRight"]];
    const act = Object.fromEntries(choices.map(([choice, , , key]) => [key, () => choose(choice)]));
    const buttons = choices.map(([choice, text, key]) => button(text, key, () => choose(choice), { class: choice }));
    const controls = h("div", { class: "controls" }, buttons);
    const labels = [say("rate.trial.left"), say("rate.trial.right")];
    return { question: say("rate.trial.pairwise"), labels, controls, act };
  },

  rating(item, choose) {
    const act = Object.fromEntries(RATING_KEYS.map((_, i) => [i + 1, () => choose(i + 1)]));
    const buttons = RATING_KEYS.map((key, i) => button(say(key), i + 1, () => choose(i + 1)));
    return { question: say("rate.trial.rating"), labels: [], controls: h("div", { class: "controls" }, buttons), act };
  },

  ranking(item, choose) {
    const order = [];
    const names = item.images.map((_, i) => String.fromCharCode(65 + i)); // A, B, C, ...
    const buttons = names.map((name, i) => button(name, null, () => pick(i)));
    const done = button(say("rate.trial.done"), "Enter", () => finish(), { class: "primary" });
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
        node.replaceChildren(names[which], h("b", {}, place < 0 ? "" : ` ${say(`rate.trial.place_${place + 1}`)}`));
        node.setAttribute("aria-pressed", place >= 0);
      });
      done.disabled = order.length < names.length;
    }
    done.disabled = true;
    const act = Object.fromEntries(names.map((name, i) => [name.toLowerCase(), () => pick(i)]));
    act.Enter = finish;
    act.Backspace = () => takeBack(last());
    return { question: say("rate.trial.ranking"), labels: names,
      controls: h("div", { class: "controls" }, buttons, done), act };
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
        throw new Error(say("rate.image_failed"));
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
  const { question, labels, controls, act } = PROTOCOLS[item.trial.protocol](item, choose);
  const figures = item.images.map((image, i) => ({ image, label: labels[i], className: "candidate" }));
  const alt = (name) => (name ? say("rate.trial.image", { name }) : say("rate.trial.image_to_rate"));
  item.images.forEach((image, i) => (image.alt = alt(labels[i])));
  if (item.input) {
    item.input.alt = say("rate.trial.input_image");
    figures.push({ image: item.input, label: say("rate.trial.input"), className: "input" });
  }
  const { element, panes, zoom, resetZoom } = syncedPanes(figures, item.trial.width / item.trial.height);
  item.panes = panes;
  const inputButton = button(say("rate.trial.input"), "I", () => toggleInput(!settings.showInput));
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
  const tools = h("div", { class: "tools" },
    undo && button(say("rate.undo"), "Z", undo),
    item.input && inputButton,
    h("span", { class: "zoom" }, button("−", null, away, { "aria-label": say("rate.trial.zoom_out") }),
      button(say("rate.trial.reset_zoom"), "0", resetZoom), button("+", null, closer, { "aria-label": say("rate.trial.zoom_in") })));
  return { nodes: [h("p", { class: "question" }, question), element, controls, tools], act };
}

/** Feedback after a practice trial; the better image is marked. */
function feedback(item, choice) {
  const { better, scores, why } = item.trial;
  const right = scores ? scores.includes(choice) : [["left", "right"][better], better].includes([choice].flat()[0]);
  item.panes[better]?.classList.add("better");
  return h("p", { class: right ? "why right" : "why" }, h("b", {}, `${say(right ? "rate.correct" : "rate.incorrect")} `),
    sayDefault(why, "why_pairwise_damage", "why_pairwise", "why_rating_damage", "why_rating"));
}

/** Statistics of the rater for the last screen. */
function raterStatistics(own) {
  const share = (part, total) => say("rate.statistics.consistent", { part, total });
  const tiles = [
    [own.answers, say("rate.statistics.answers", { n: own.answers })],
    own.repeats && [share(own.consistent, own.repeats), say("rate.statistics.repeats")],
    own.golds && [share(own.passed, own.golds), say("rate.statistics.golds")],
    own.compared && [`${Math.round(100 * own.others)}%`, say("rate.statistics.agreement", { n: own.compared })],
  ];
  return h("dl", {}, tiles.filter(Boolean).map(([figure, what]) => h("div", {}, h("dt", {}, figure), h("dd", {}, what))));
}
