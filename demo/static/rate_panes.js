// DOM helpers, and images side by side with synchronised zoom and pan. Plain JavaScript; demo/tabs/rate.py loads this file
// before rate.js.

/** Create a DOM node: h("button", {class: "x", onclick: f}, "text", node, null). Strings become text nodes, never HTML. */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else if (value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

/** An element with a text of the page (demo/languages), which follows the language of the visitor. */
function text(key, values, tag = "span", attributes = {}) {
  return h(tag, { ...attributes, "data-text": key, ...translated(values) }, gpen.text(key, values ?? {}));
}

/** An attribute with a text of the page: named("aria-label", "page.close"). */
function named(name, key, values) {
  return { [name]: gpen.text(key, values ?? {}), [`data-text-${name}`]: key, ...translated(values) };
}

/** Attributes that demo/static/languages.js reads when the language changes. */
function translated(values) {
  return { "data-in": gpen.language(), "data-values": values ? JSON.stringify(values) : null };
}

/** Resolves when previous changes of the page have been painted. */
const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

const MAX_ZOOM = 12;

/** Images with synchronised zoom and pan. `figures`: [{image, label, className}]; `aspect`: width / height. */
function syncedPanes(figures, aspect) {
  const view = { zoom: 1, x: 0, y: 0 }; // x, y: offset of the image, in widths and heights of a pane
  const pointers = new Map(); // pointer id -> position
  const panes = figures.map(({ image, label, className }) =>
    h("figure", { class: className }, h("div", { class: "pane", style: `aspect-ratio: ${aspect}` }, image),
      label && h("figcaption", {}, label)));
  const element = h("div", { class: "panes", style: `--n: ${figures.length}` }, panes);

  function applyView() {
    view.zoom = Math.min(MAX_ZOOM, Math.max(1, view.zoom));
    for (const axis of ["x", "y"]) view[axis] = Math.min(0, Math.max(1 - view.zoom, view[axis]));
    for (const [name, value] of Object.entries(view)) element.style.setProperty(`--${name}`, value);
    element.classList.toggle("zoomed", view.zoom > 1);
  }

  /** Zoom by a factor around the point (x, y) of the pane. */
  function zoom(factor, x = 0.5, y = 0.5) {
    const old = view.zoom;
    view.zoom = Math.min(MAX_ZOOM, Math.max(1, old * factor));
    view.x = x - ((x - view.x) * view.zoom) / old;
    view.y = y - ((y - view.y) * view.zoom) / old;
    applyView();
  }

  function at(event) {
    const box = event.target.closest(".pane").getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  /** Centre of the active pointers, and the distance of the first from it. */
  function pointerCentre() {
    const points = [...pointers.values()];
    const x = points.reduce((sum, point) => sum + point.x, 0) / points.length;
    const y = points.reduce((sum, point) => sum + point.y, 0) / points.length;
    return { x, y, distance: Math.hypot(points[0].x - x, points[0].y - y) };
  }

  const on = (name, act, options) =>
    element.addEventListener(name, (event) => event.target.closest(".pane") && act(event), options);
  on("wheel", (event) => {
    event.preventDefault();
    const { x, y } = at(event);
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), x, y);
  }, { passive: false });
  on("dblclick", (event) => {
    const { x, y } = at(event);
    zoom(view.zoom > 1 ? 0 : 3, x, y);
  });
  on("pointerdown", (event) => {
    event.preventDefault(); // prevents dragging and text selection
    event.target.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
  });
  on("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = pointerCentre();
    pointers.set(event.pointerId, at(event));
    const now = pointerCentre();
    view.x += now.x - before.x;
    view.y += now.y - before.y;
    zoom(before.distance > 0 ? now.distance / before.distance : 1, now.x, now.y);
  });
  for (const name of ["pointerup", "pointercancel"]) on(name, (event) => pointers.delete(event.pointerId));
  applyView();
  return { element, panes, zoom, resetZoom: () => zoom(0) };
}
