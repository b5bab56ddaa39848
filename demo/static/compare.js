// A comparison of images with a divider; demo/compare.py makes its HTML. The position is a whole percentage of the width,
// the same for keyboard and pointer. A new value of the component replaces the nodes inside `element`, not `element` itself:
// position, pair and full screen are kept there, and show() writes them into the new nodes. `settings` are {start, name, has_key}.
const STEP = 1, PAGE = 10; // percent, for arrow keys, and for Page Up and Page Down or arrow keys with Shift
const KEYS = {
  ArrowLeft: (p, e) => p - (e.shiftKey ? PAGE : STEP), ArrowRight: (p, e) => p + (e.shiftKey ? PAGE : STEP),
  ArrowDown: (p, e) => p - (e.shiftKey ? PAGE : STEP), ArrowUp: (p, e) => p + (e.shiftKey ? PAGE : STEP),
  PageDown: (p) => p - PAGE, PageUp: (p) => p + PAGE, Home: () => 0, End: () => 100,
};
let position = settings.start;
let pair = 0; // index of the left image
let drag = null; // {offset of the pointer from the divider in px, position at the start}

const find = (selector) => element.querySelector(selector);
const expanded = () => element.hasAttribute("popover");
const label = ({ dataset, textContent }) => (dataset.text ? gpen.text(dataset.text, JSON.parse(dataset.values ?? "{}")) : textContent);

function show() {
  element.style.setProperty("--position", `${position}%`);
  const handle = find(".compare-handle");
  if (!handle) return;
  const layers = [...element.querySelectorAll(".compare-layer")];
  pair = Math.min(pair, layers.length - 2);
  const sides = ["left", "right"];
  layers.forEach((layer, i) => (layer.dataset.side = sides[i - pair] ?? "none"));
  const name = settings.has_key ? gpen.text(settings.name) : settings.name;
  const [left, right] = [pair, pair + 1].map((i) => label(layers[i].querySelector("figcaption")));
  const parts = { left, right, left_part: position, right_part: 100 - position };
  const values = {
    "aria-label": gpen.text("page.compare.divider", { name, left, right }), "aria-valuenow": position,
    "aria-valuetext": gpen.text("page.compare.position", parts),
  };
  for (const [name, value] of Object.entries(values)) handle.setAttribute(name, value);
  const expand = find(".compare-expand");
  expand.title = expanded() ? gpen.text("page.compare.close_full_screen") : gpen.text("page.compare.full_screen");
  expand.setAttribute("aria-label", expand.title);
  for (const button of element.querySelectorAll("[data-pair]"))
    button.setAttribute("aria-pressed", Number(button.dataset.pair) === pair);
}

function move(to) {
  position = Math.round(Math.min(100, Math.max(0, to)));
  show();
}

function moveToPointer(event, offset = 0) {
  const box = find(".compare-view").getBoundingClientRect();
  move((100 * (event.clientX - offset - box.left)) / box.width);
}

function setExpanded(open) {
  if (open === expanded()) return;
  if (open) {
    element.parentElement.style.minHeight = `${element.offsetHeight}px`; // the page below stays where it is
    element.setAttribute("popover", "manual");
    element.showPopover();
  } else {
    element.removeAttribute("popover");
    element.parentElement.style.minHeight = "";
  }
  show();
  find(open ? ".compare-handle" : ".compare-expand")?.focus({ preventScroll: true });
}

element.addEventListener("pointerdown", (event) => {
  const handle = event.target.closest(".compare-handle");
  const mouse = event.pointerType === "mouse" && event.button === 0 && event.target.closest(".compare-layer");
  if (!handle && !mouse) return;
  const box = find(".compare-view").getBoundingClientRect();
  const divider = box.left + (box.width * position) / 100;
  drag = { offset: handle ? event.clientX - divider : 0, start: position };
  find(".compare-handle").setPointerCapture(event.pointerId);
  find(".compare-handle").focus({ preventScroll: true });
  event.preventDefault(); // no selection of text, no dragging of the image
  if (mouse) moveToPointer(event);
});
element.addEventListener("pointermove", (event) => drag && moveToPointer(event, drag.offset));
element.addEventListener("pointerup", () => (drag = null));
element.addEventListener("pointercancel", () => {
  if (drag) move(drag.start); // the browser scrolls the page instead
  drag = null;
});
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-pair]");
  if (button) {
    pair = Number(button.dataset.pair);
    show();
  } else if (event.target.closest(".compare-expand")) setExpanded(!expanded());
  else if (event.target.closest(".compare-layer")) moveToPointer(event); // a tap
});
element.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && expanded()) setExpanded(false);
  else if (event.target.closest(".compare-handle") && KEYS[event.key]) move(KEYS[event.key](position, event));
  else return;
  event.preventDefault();
});
element.addEventListener("focusout", (event) => {
  if (event.relatedTarget && !element.contains(event.relatedTarget)) setExpanded(false); // Tab leaves the full screen
});
watch("value", show);
window.addEventListener("gpen-language", show);
show();
