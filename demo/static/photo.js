// Numbered faces: a group of radio buttons. A frame on the photo is a shortcut for its button. The chosen face is kept here and
// marked on both; it is sent to the server as {face: index}.
const bench = element.closest("#photo-bench");
const buttons = () => [...element.querySelectorAll("[data-face]")];
const chosen = () => buttons().findIndex((button) => button.getAttribute("aria-checked") === "true");

function mark() {
  const face = String(chosen());
  for (const frame of bench.querySelectorAll(".photo-frame")) frame.classList.toggle("chosen", frame.dataset.face === face);
}

function choose(face) {
  buttons().forEach((button, i) => {
    button.setAttribute("aria-checked", i === face);
    button.tabIndex = i === face ? 0 : -1;
  });
  mark();
  trigger("click", { face });
}

bench.addEventListener("click", (event) => {
  const item = event.target.closest("#photo-numbers [data-face], .photo-frame");
  if (item && buttons().length) choose(Number(item.dataset.face));
});
const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
element.addEventListener("keydown", (event) => {
  const count = buttons().length;
  const ends = { Home: 0, End: count - 1 };
  const next = event.key in ends ? ends[event.key] : event.key in STEPS ? (chosen() + STEPS[event.key] + count) % count : -1;
  if (next < 0 || !count) return;
  event.preventDefault();
  buttons()[next].focus();
  choose(next);
});
new MutationObserver(mark).observe(bench, { childList: true, subtree: true }); // the server replaces photo and buttons
mark();
