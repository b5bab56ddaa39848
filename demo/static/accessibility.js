// Repairs of gradio's markup for screen readers, found with axe-core, and names that gradio has only in English. Checked with
// gradio 6.31.0.
const REPAIRS = {
  "footer button img[alt]:not([alt='']), .record-button img[alt]:not([alt=''])": (image) => (image.alt = ""), // repeats the text of the button
  ".api-docs h2 + button:not([aria-label])": (button) => button.setAttribute("aria-label", text("page.close")),
  "div[aria-label='Empty value']:not([role])": (box) => box.setAttribute("role", "img"), // a name needs a role
  "[role=tab][aria-controls='']": (tab) => tab.removeAttribute("aria-controls"), // the tab has no elem_id
  "[aria-label='Upload file'], [aria-label='File upload']": nameWith("page.upload.file"),
  "[aria-label='Capture from camera']": nameWith("page.upload.camera"),
  "[aria-label='Paste from clipboard']": nameWith("page.upload.clipboard"),
};

/** A repair that names an element in the language of the page. */
function nameWith(key) {
  return (element) => {
    if (element.dataset.textAriaLabel) return; // English
    element.dataset.textAriaLabel = key;
    translate(element);
  };
}

whenChanged(() => {
  for (const [selector, repair] of Object.entries(REPAIRS)) for (const element of document.querySelectorAll(selector)) repair(element);
});
