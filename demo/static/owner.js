// Owner page of a study. The token is kept in the memory of the page only; demo/tabs/owner.py generates the HTML.

const REFRESH = 10_000; // ms

/** Show the owner page in `root`, the element of the Leaderboard tab. */
function owner(root, base) {
  let token = "";
  const notice = h("p", { class: "notice", role: "status" });
  const content = h("div");
  root.classList.add("owner");
  root.replaceChildren(h("h2", {}, "Results of the study"), notice, content,
    h("footer", {}, h("a", { href: "?tab=leaderboard" }, "Back to the leaderboard")));
  signIn();

  async function call(path, body) {
    const response = await fetch(`${base}/owner/${path}`, { method: "POST", headers: { "X-Owner-Token": token }, body })
      .catch(() => { throw new Error(gpen.text("rate.unreachable")); });
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({}));
    throw new Error(error ?? gpen.text("rate.status", { status: response.status }));
  }

  /** Wrap a handler: its errors are shown as a notice. */
  function showErrors(act) {
    return async (...given) => {
      try {
        notice.textContent = "";
        await act(...given);
      } catch (error) {
        notice.textContent = error.message;
      }
    };
  }

  function signIn() {
    const name = "Owner token";
    const box = h("input", { type: "password", autocomplete: "off", "aria-label": name, placeholder: name });
    const open = showErrors(async (event) => {
      event.preventDefault();
      token = String.fromCharCode(...new TextEncoder().encode(box.value.trim())); // headers are byte strings: encode as UTF-8
      showAll(await (await call("report")).json());
    });
    content.replaceChildren(h("form", { class: "row", onsubmit: open }, box, h("button", { class: "primary" }, "Open")));
    box.focus();
  }

  function showAll({ html, formats, link }) {
    const live = h("div", { class: "report" });
    live.innerHTML = html; // generated and escaped by demo/tabs/owner.py
    const form = h("select", { "aria-label": "File format" }, formats.map((name) => h("option", {}, name)));
    const file = h("input", { type: "file", hidden: true, onchange: showErrors(bring) });
    const downloads = formats.map((name) => button(`↓ ${name}`, null, showErrors(() => download(name))));
    content.replaceChildren(h("h3", {}, "Link for raters"), linkRow(link), live, h("h3", {}, "Files"), h("div", { class: "row files" }, downloads),
      h("div", { class: "row files" }, form, button("↑ Import", null, () => file.click()), file));
    refresh();

    async function bring() {
      const text = await file.files[0].text();
      file.value = "";
      const result = await (await call(`import/${form.value}`, text)).json();
      live.innerHTML = (await (await call("report")).json()).html;
      notice.textContent = result.new === 1 ? "1 new answer was added." : `${result.new} new answers were added.`;
    }

    async function refresh() {
      while (root.isConnected) {
        await sleep(REFRESH);
        if (root.offsetParent === null) continue;
        const fresh = await call("report").then((response) => response.json()).catch(() => null);
        if (fresh) live.innerHTML = fresh.html;
      }
    }
  }

  /** The complete address of the study, for the e-mail or the web page that asks people to take part. */
  function linkRow(link) {
    const address = new URL(`${base}/..${link}`, location.href).href;
    const box = h("input", { type: "text", readonly: true, value: address, "aria-label": "Link for raters", onfocus: () => box.select() });
    const copied = h("span", { class: "quiet", role: "status" });
    async function copy() {
      box.select();
      try {
        await navigator.clipboard.writeText(address);
        copied.textContent = "Copied.";
      } catch { // no permission, or no HTTPS
        copied.textContent = "Press Ctrl+C to copy the link.";
      }
    }
    return h("div", { class: "row" }, box, button("Copy", null, copy), copied);
  }

  async function download(name) {
    const response = await call(`export/${name}`);
    const [, filename] = response.headers.get("Content-Disposition").match(/filename="(.*)"/);
    const link = h("a", { href: URL.createObjectURL(await response.blob()), download: filename });
    link.click();
    URL.revokeObjectURL(link.href);
  }
}
