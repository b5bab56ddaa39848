// Face buttons on the photo: a click selects or deselects a face; the buttons above select all, the largest or none.
// The selection is kept on the page; every change is sent to the server as {chosen: [indices]}.
const faces = () => [...element.querySelectorAll(".face")];

function sendSelection() {
  const chosen = faces().flatMap((face, i) => (face.getAttribute("aria-pressed") === "true" ? [i] : []));
  element.querySelector(".chosen-count").textContent = `${chosen.length} selected`;
  trigger("click", { chosen });
}

const picks = { all: () => true, largest: (i) => i === 0, none: () => false };
element.addEventListener("click", (event) => {
  const face = event.target.closest(".face");
  const pick = event.target.closest("[data-pick]");
  if (face) face.setAttribute("aria-pressed", face.getAttribute("aria-pressed") !== "true");
  else if (pick) faces().forEach((face, i) => face.setAttribute("aria-pressed", picks[pick.dataset.pick](i)));
  else return;
  sendSelection();
});
