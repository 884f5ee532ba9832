// A click on a figure enlarges it; another one doubles it; Escape closes it. Arrows show the next and the previous one.
const viewer = document.getElementById("viewer");
const stage = viewer.querySelector(".stage");
const large = viewer.querySelector("img");
const links = [...document.querySelectorAll("figure a")];
let shown = 0;

function show(k) {
  shown = (k + links.length) % links.length;
  const small = links[shown].querySelector("img");
  stage.classList.remove("large");
  large.src = links[shown].href;
  large.alt = small.alt;
  viewer.querySelector("p").textContent = small.alt;
  if (!viewer.open) viewer.showModal();
  stage.focus();
}

links.forEach((link, k) => link.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(k);
}));
large.addEventListener("click", () => stage.classList.toggle("large"));
viewer.addEventListener("click", (event) => {
  if (event.target !== large) viewer.close();
});
viewer.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target === stage) stage.classList.toggle("large");
  if (stage.classList.contains("large")) return;
  if (event.key === "ArrowRight") show(shown + 1);
  if (event.key === "ArrowLeft") show(shown - 1);
});
viewer.addEventListener("close", () => links[shown].focus());

// The table of contents is folded in a narrow window, and marks the section that is read.
const contents = document.querySelector(".contents");
const wide = matchMedia("(min-width: 64rem)");
const fold = () => { contents.open = wide.matches; };
wide.addEventListener("change", fold);
fold();
const entries = new Map([...contents.querySelectorAll("a")].map((a) => [a.hash.slice(1), a]));
const sections = [...document.querySelectorAll("section")].filter((section) => entries.has(section.id));
function markCurrent() {
  const current = sections.findLast((section) => section.getBoundingClientRect().top < innerHeight / 4);
  for (const [id, a] of entries) {
    if (id === current?.id) a.setAttribute("aria-current", "true");
    else a.removeAttribute("aria-current");
  }
}
addEventListener("scroll", markCurrent, { passive: true });
markCurrent();
