// The Leaderboard tab, and the page of the owner at ?tab=leaderboard&owner. demo/tabs/leaderboard.py generates the HTML.

const LIVE = 5_000; // ms, between two requests for the results while the tab is visible

function leaderboard(root) {
  const base = `${window.gradio_config?.root ?? ""}/study`;
  if (new URLSearchParams(location.search).has("owner")) return owner(root, base);
  const notice = h("p", { class: "notice", role: "status" });
  const content = h("div", { class: "report" });
  const foot = h("footer", {}, text("leaderboard.owner", null, "a", { href: "?tab=leaderboard&owner" }));
  root.append(notice, content);
  const server = connection(base, (sentence) => (notice.textContent = sentence ?? ""));
  refresh();

  async function refresh() {
    let version = "";
    while (root.isConnected) {
      if (isVisible()) {
        const result = await server.ask("leaderboard", { version }, isVisible).catch(() => null);
        if (result?.html != null) show(result.html);
        if (result) version = result.version;
        if (result?.owner && !foot.isConnected) root.append(foot);
      }
      await sleep(version ? LIVE : 500);
    }
  }

  function isVisible() {
    return root.offsetParent !== null && document.visibilityState === "visible";
  }

  /** Show the results; what the visitor has opened stays open, and the focus stays where it is. */
  function show(html) {
    const isOpen = [...content.querySelectorAll("details")].map(({ open }) => open);
    const focused = [...content.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
    content.innerHTML = html; // generated and escaped by demo/tabs/leaderboard.py
    for (const link of content.querySelectorAll("[data-file]")) link.href = `${base}/leaderboard/${link.dataset.file}`;
    content.querySelectorAll("details").forEach((details, i) => (details.open = isOpen[i] ?? false));
    if (focused >= 0) content.querySelectorAll(FOCUSABLE)[focused]?.focus({ preventScroll: true });
  }
}

const FOCUSABLE = "a, summary, [tabindex]";
