// One trial on the screen: the images, the question, the controls and the keys of each protocol.

const ORDINALS = ["1st", "2nd", "3rd", "4th", "5th", "6th"];
const RATING_LABELS = ["Bad", "Poor", "Fair", "Good", "Excellent"]; // 1 to 5: absolute category rating of ITU-T P.910

function button(text, key, act, attributes = {}) {
  return h("button", { type: "button", onclick: act, ...attributes }, text, key && h("kbd", {}, key));
}

// protocol -> question, labels of the images, controls, and keys with their actions
const PROTOCOLS = {
  pairwise(item, choose) {
    const choices = [["left", "← Left", null, "ArrowLeft"], ["tie", "Tie", "T", "t"],
      ["both_bad", "Both bad", "B", "b"], ["right", "Right →", null, "ArrowRight"]];
    const act = Object.fromEntries(choices.map(([choice, , , key]) => [key, () => choose(choice)]));
    const buttons = choices.map(([choice, text, key]) => button(text, key, () => choose(choice), { class: choice }));
    const controls = h("div", { class: "controls" }, buttons);
    return { question: "Which image is better?", labels: ["Left", "Right"], controls, act };
  },

  rating(item, choose) {
    const act = Object.fromEntries(RATING_LABELS.map((_, i) => [i + 1, () => choose(i + 1)]));
    const buttons = RATING_LABELS.map((word, i) => button(word, i + 1, () => choose(i + 1)));
    return { question: "How good is this image?", labels: [], controls: h("div", { class: "controls" }, buttons), act };
  },

  ranking(item, choose) {
    const order = [];
    const names = item.images.map((_, i) => String.fromCharCode(65 + i)); // A, B, C, ...
    const buttons = names.map((name, i) => button(name, null, () => pick(i)));
    const done = button("Done", "Enter", () => finish(), { class: "primary" });
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
        node.replaceChildren(names[which], h("b", {}, place < 0 ? "" : ` ${ORDINALS[place]}`));
        node.setAttribute("aria-pressed", place >= 0);
      });
      done.disabled = order.length < names.length;
    }
    done.disabled = true;
    const act = Object.fromEntries(names.map((name, i) => [name.toLowerCase(), () => pick(i)]));
    act.Enter = finish;
    act.Backspace = () => takeBack(last());
    return { question: "Choose the best image first, then the next best, and so on.", labels: names,
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
        throw new Error("An image could not be loaded.");
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
  item.images.forEach((image, i) => (image.alt = labels[i] ? `Image: ${labels[i]}` : "Image to rate"));
  if (item.input) {
    item.input.alt = "Image before restoration";
    figures.push({ image: item.input, label: "Input", className: "input" });
  }
  const { element, panes, zoom, resetZoom } = syncedPanes(figures, item.trial.width / item.trial.height);
  item.panes = panes;
  const inputButton = button("Input", "I", () => toggleInput(!settings.showInput));
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
    undo && button("Undo", "Z", undo),
    item.input && inputButton,
    h("span", { class: "zoom" }, button("−", null, away, { "aria-label": "Zoom out" }),
      button("Reset zoom", "0", resetZoom), button("+", null, closer, { "aria-label": "Zoom in" })));
  return { nodes: [h("p", { class: "question" }, question), element, controls, tools], act };
}

/** Feedback after a practice trial; the better image is marked. */
function feedback(item, choice) {
  const { better, scores, why } = item.trial;
  const right = scores ? scores.includes(choice) : [["left", "right"][better], better].includes([choice].flat()[0]);
  item.panes[better]?.classList.add("better");
  return h("p", { class: right ? "why right" : "why" }, h("b", {}, right ? "Correct. " : "Not correct. "), why);
}

/** Statistics of the rater for the last screen. */
function raterStatistics(own) {
  const tiles = [
    [own.answers, own.answers === 1 ? "answer given" : "answers given"],
    own.repeats && [`${own.consistent} of ${own.repeats}`, "repeated trials answered the same"],
    own.golds && [`${own.passed} of ${own.golds}`, "gold questions answered correctly"],
    own.compared && [`${Math.round(100 * own.others)}%`, `agreement with the majority, on ${own.compared} trials shared with other raters`],
  ];
  return h("dl", {}, tiles.filter(Boolean).map(([figure, what]) => h("div", {}, h("dt", {}, figure), h("dd", {}, what))));
}
