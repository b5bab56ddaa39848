// The faces on the photo: a click on one chooses it or leaves it out, the buttons above choose all, the largest or none.
// The server hears of every change as {chosen: [indices]}; what is pressed lives in the page alone.
const faces = () => [...element.querySelectorAll(".face")];

function tell() {
  const chosen = faces().flatMap((face, i) => (face.getAttribute("aria-pressed") === "true" ? [i] : []));
  element.querySelector(".chosen-count").textContent = `${chosen.length} chosen`;
  trigger("click", { chosen });
}

const picks = { all: () => true, largest: (i) => i === 0, none: () => false };
element.addEventListener("click", (event) => {
  const face = event.target.closest(".face");
  const pick = event.target.closest("[data-pick]");
  if (face) face.setAttribute("aria-pressed", face.getAttribute("aria-pressed") !== "true");
  else if (pick) faces().forEach((face, i) => face.setAttribute("aria-pressed", picks[pick.dataset.pick](i)));
  else return;
  tell();
});
