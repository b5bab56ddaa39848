// Texts in the language of the page, from the tables of demo/languages, which gradio has in its configuration.
// Gradio writes the language of the visitor into <html lang>; window.gpen.text returns a text in it, in English if the
// language has none. Elements with data-text, and attributes with data-text-NAME, are translated.

const TRANSLATED_ATTRIBUTES = ["alt", "aria-label", "placeholder", "title"];
const tables = () => window.gradio_config?.i18n_translations ?? {};
let language = "en"; // of the texts: one of the tables

/** Choose the language of the page, or its base language: zh for zh-CN. */
function readLanguage() {
  const wanted = document.documentElement.lang;
  const found = [wanted, wanted.split("-")[0]].find((name) => name in tables()) ?? "en";
  if (found === language) return;
  language = found;
  for (const element of document.querySelectorAll("[data-in]")) translate(element);
  window.dispatchEvent(new CustomEvent("gpen-language"));
}

/** The text of a key with `values` instead of its placeholders; a value n of 1 selects the text of `key` + "_one". */
function text(key, values = {}) {
  readLanguage();
  const table = [language, "en"].map((name) => tables()[name] ?? {}).find((texts) => key in texts);
  if (!table) throw new Error(`There is no text ${key}.`);
  const found = (values.n === 1 && table[`${key}_one`]) || table[key];
  return found.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/**
 * The text in the language of the page if it is the English text of one of the keys, else the text itself. The values of its
 * placeholders are translated in the same way, with the keys of `section`.
 */
function translated(english, keys, section) {
  for (const key of keys) {
    const names = [];
    const escaped = (tables().en?.[key] ?? "").replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const pattern = escaped.replace(/\\\{(\w+)\\\}/g, (_, name) => (names.push(name), "(.+)"));
    const found = english.match(new RegExp(`^${pattern}$`));
    if (!found) continue;
    const parts = Object.keys(tables().en).filter((name) => name.startsWith(`${section}.`));
    return text(key, Object.fromEntries(names.map((name, i) => [name, translated(found[i + 1], parts)])));
  }
  return english;
}

function translate(element) {
  if (element.dataset.in === language) return;
  element.dataset.in = language;
  const values = JSON.parse(element.dataset.values ?? "{}");
  for (const name of TRANSLATED_ATTRIBUTES) {
    const key = element.getAttribute(`data-text-${name}`);
    if (key) element.setAttribute(name, text(key, values));
  }
  const key = element.dataset.text;
  if (!key) return;
  if (key.endsWith("_html")) element.innerHTML = text(key, escapedValues(values));
  else element.textContent = text(key, values);
}

function escapedValues(values) {
  const box = document.createElement("i");
  const escape = (value) => ((box.textContent = value), box.innerHTML.replaceAll('"', "&quot;"));
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, name === "n" ? value : escape(value)]));
}

const untranslated = ["", ...TRANSLATED_ATTRIBUTES.map((name) => `-${name}`)].map((end) => `[data-text${end}]:not([data-in])`).join();

window.gpen = { ...window.gpen, text, translated, language: () => language };
new MutationObserver(readLanguage).observe(document.documentElement, { attributeFilter: ["lang"] });
whenChanged(() => {
  readLanguage();
  for (const element of document.querySelectorAll(untranslated)) translate(element);
  for (const app of document.querySelectorAll("gradio-app")) if (app.lang !== language) app.lang = language;
});
