// Calls the functions given to whenChanged after the page was built, and after each change of it, once per frame.
const changeListeners = [];
let isScheduled = false;

function whenChanged(listener) {
  changeListeners.push(listener);
}

function scheduleListeners() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    for (const listener of changeListeners) listener();
  });
}

new MutationObserver(scheduleListeners).observe(document.documentElement, {
  subtree: true, childList: true, attributeFilter: ["aria-selected"],
});
