// The link of a study, /rate?study=ID, by which raters come: the page shows the study alone (demo/static/tabs.js, rate.css).

/** The study that the address names; null without one. */
const linkedStudy = () => new URLSearchParams(location.search).get("study") || null;

const rootAddress = () => `${window.gradio_config?.root ?? ""}/`;

/** What a visitor sees whose link names a study that is not on this server: a sentence, and links to the studies that are open. */
function unknownStudy(open) {
  const links = open.map(({ study, title }) => {
    const href = `${rootAddress()}?${new URLSearchParams({ tab: "rate", study })}`;
    return h("li", {}, h("a", { href }, studyText(title, "rate.study.title"), ` (${study})`));
  });
  return [text("rate.unknown", { study: linkedStudy().slice(0, 64) }, "p", { role: "status" }), h("ul", {}, links)];
}

/** The end of a session by link: the other tabs are hidden until then. */
function wholePage() {
  return linkedStudy() && text("rate.whole_page", null, "a", { href: `${rootAddress()}?tab=playground` });
}

/** Login with an account of Hugging Face; afterwards gradio returns to this address with its query. */
function loginNodes() {
  const href = `${rootAddress()}login/huggingface${location.search}`;
  return [text("rate.log_in", null, "p"), text("rate.log_in_button", null, "a", { class: "button", href })];
}
