// The tabs of the page have addresses, ?tab=photo, and move with the arrow keys. Checked with gradio 6.31.0, which has neither:
// its tabs are buttons with role="tab" and data-tab-id in an element with role="tablist".

const TABS = "#tabs > .tab-wrapper [role=tab]";
const addressed = () => new URLSearchParams(location.search).get("tab");
const tabButton = (id) => [...document.querySelectorAll(TABS)].find((button) => button.dataset.tabId === id);
const isRater = () => addressed() === "rate" && new URLSearchParams(location.search).has("study"); // came by the link of a study
const markRater = () => document.documentElement.toggleAttribute("data-rater", isRater()); // rate.css hides all but the study
let isOpened = false; // the tab in the address has been opened
let shown = ""; // the tab and the widths of the bar for which it was scrolled

markRater();
window.addEventListener("popstate", markRater);

// Before gradio builds the page: start with the tab in the address, so that no other tab appears first.
const tabs = window.gradio_config?.components?.find(({ props }) => props.elem_id === "tabs");
if (tabs && window.gradio_config.components.some(({ type, props }) => type === "tabitem" && props.id === addressed() && props.visible))
  tabs.props.selected = addressed();

whenChanged(() => {
  for (const button of document.querySelectorAll("[role=tablist] [role=tab]")) {
    const index = button.getAttribute("aria-selected") === "true" ? 0 : -1;
    if (button.tabIndex !== index) button.tabIndex = index;
  }
  if (!isOpened && document.querySelector(TABS)) {
    isOpened = true;
    selectAddressed(); // when the configuration above was not used, as with `gradio app.py`
    window.addEventListener("popstate", selectAddressed);
    const sizes = new ResizeObserver(scheduleListeners); // fonts and style sheets that are loaded later
    for (const button of document.querySelectorAll(TABS)) sizes.observe(button);
    window.addEventListener("resize", () => ((shown = ""), scheduleListeners()));
    return;
  }
  const selected = document.querySelector(`${TABS}[aria-selected=true]`);
  if (!selected) return;
  if (selected.dataset.tabId !== (addressed() ?? document.querySelector(TABS).dataset.tabId)) {
    const address = new URL(location.href);
    address.searchParams.set("tab", selected.dataset.tabId);
    if (addressed() && !tabButton(addressed())) history.replaceState(history.state, "", address); // there is no such tab
    else history.pushState(history.state, "", address);
  }
  keepInView(selected);
});

function selectAddressed() {
  const button = tabButton(addressed()) ?? document.querySelector(TABS);
  if (button.getAttribute("aria-selected") !== "true") button.click();
}

/** Scroll the bar, not the page, so that the tab is in its middle, when the tab or the bar changed. */
function keepInView(button) {
  const bar = button.closest("[role=tablist]");
  const state = [button.dataset.tabId, bar.clientWidth, bar.scrollWidth].join();
  if (state === shown) return;
  shown = state;
  bar.scrollTo({ left: button.offsetLeft - (bar.clientWidth - button.offsetWidth) / 2 });
}

document.addEventListener("keydown", (event) => {
  const current = event.target.closest?.("[role=tab]");
  if (!current || event.ctrlKey || event.altKey || event.metaKey) return;
  const all = [...current.closest("[role=tablist]").querySelectorAll("[role=tab]:not(:disabled)")];
  const i = all.indexOf(current);
  const next = { ArrowRight: all[i + 1] ?? all[0], ArrowLeft: all.at(i - 1), Home: all[0], End: all.at(-1) }[event.key];
  if (!next) return;
  event.preventDefault();
  next.click();
  next.focus();
});
