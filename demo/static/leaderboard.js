// The Leaderboard tab, and the page of the owner at ?tab=leaderboard&owner. demo/tabs/leaderboard.py generates the HTML.

function leaderboard(root) {
  const base = `${window.gradio_config?.root ?? ""}/study`;
  if (new URLSearchParams(location.search).has("owner")) return owner(root, base);
  const notice = h("p", { class: "notice", role: "status" });
  const content = h("div", { class: "report", "aria-live": "polite" });
  root.append(notice, content);
  const server = connection(base, (sentence) => (notice.textContent = sentence ?? ""));
  server.ask("leaderboard").then((result) => {
    content.innerHTML = result.html; // generated and escaped by demo/tabs/leaderboard.py
    if (result.owner) root.append(h("footer", {}, text("leaderboard.owner", null, "a", { href: "?tab=leaderboard&owner" })));
  });
}
