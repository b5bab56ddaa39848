// Repairs of gradio's markup for screen readers, found with axe-core. Checked with gradio 6.31.0.
const REPAIRS = {
  "footer button img[alt]:not([alt='']), .record-button img[alt]:not([alt=''])": (image) => (image.alt = ""), // repeats the text of the button
  ".api-docs h2 + button:not([aria-label])": (button) => button.setAttribute("aria-label", text("page.close")),
  "div[aria-label='Empty value']:not([role])": (box) => box.setAttribute("role", "img"), // a name needs a role
  "[role=tab][aria-controls='']": (tab) => tab.removeAttribute("aria-controls"), // the tab has no elem_id
};

whenChanged(() => {
  for (const [selector, repair] of Object.entries(REPAIRS)) for (const element of document.querySelectorAll(selector)) repair(element);
});
