// A vertical swipe that starts on a slider scrolls the page and changes nothing. Browsers set the value where a finger touches
// a slider, before the direction of the swipe is known: the event is held back until then. For all sliders of the page.
const DECIDED = 8; // px of movement
let touched = null; // {slider, value before the touch, position of the finger}

window.addEventListener("touchstart", (event) => {
  const slider = event.target.matches?.("input[type=range]") ? event.target : null;
  const [finger] = event.touches;
  touched = slider && { slider, value: slider.value, x: finger.clientX, y: finger.clientY };
}, { capture: true, passive: true });

window.addEventListener("input", (event) => {
  if (touched?.slider === event.target) event.stopImmediatePropagation();
}, { capture: true });

window.addEventListener("touchmove", (event) => {
  if (!touched) return;
  const x = Math.abs(event.touches[0].clientX - touched.x);
  const y = Math.abs(event.touches[0].clientY - touched.y);
  if (Math.max(x, y) >= DECIDED) release(x > y);
}, { capture: true, passive: true });

window.addEventListener("touchend", () => release(true), { capture: true }); // a tap
window.addEventListener("touchcancel", () => release(false), { capture: true }); // the browser scrolls

function release(accepted) {
  if (!touched) return;
  const { slider, value } = touched;
  touched = null;
  if (accepted) slider.dispatchEvent(new Event("input", { bubbles: true }));
  else slider.value = value;
}
