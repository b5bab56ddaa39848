// What a rater reads before the start: the instructions and the consent text of the study.

/** A text of the study; the standard one of eval/preference/build.py is shown in the language of the visitor. */
function studyText(given, key) {
  return given === window.gradio_config?.i18n_translations?.en?.[key] ? text(key) : given;
}

const instructionsOf = (about) => studyText(about.instructions, `rate.study.instructions_${about.protocol}`);

/** The nodes of the screen. again: the rater was here before; lasts: whether the browser stores data. */
function consentNodes(about, again, lasts, agree, decline) {
  return [
    h("p", { class: "text" }, instructionsOf(about)),
    text("rate.session", { n: about.session }, "p", { class: "quiet" }),
    again ? text("rate.again", null, "h3") : text("rate.before", null, "h3"),
    h("div", { class: "text sheet" }, studyText(about.consent, "rate.study.consent"),
      text("rate.version", { version: about.version }, "small")),
    lasts ? null : text("rate.no_storage", null, "p", { class: "quiet" }),
    about.login === false ? h("div", {}, loginNodes()) : h("div", { class: "row" }, agree, decline),
  ];
}
