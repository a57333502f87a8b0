"use strict";
const graph = document.getElementById("graph");
const whole = { x: 0, y: 0, w: Number(graph.dataset.width), h: Number(graph.dataset.height) };
let view;

function show(next) {
  view = next;
  graph.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
}

function scale() { // units of the drawing a pixel
  const { width, height } = graph.getBoundingClientRect();
  return Math.max(view.w / width, view.h / height);
}

function zoom(factor, px = 0.5, py = 0.5) {
  const w = Math.min(Math.max(view.w * factor, 150), 4 * Math.max(whole.w, whole.h));
  const h = view.h * w / view.w;
  show({ x: view.x + (view.w - w) * px, y: view.y + (view.h - h) * py, w, h });
}

function start() { // legible, from the top
  const { width, height } = graph.getBoundingClientRect();
  show({ x: (whole.w - width) / 2, y: 0, w: width, h: height });
  if (whole.w > width) view.x = 0, show(view);
}

function choose(node) {
  graph.querySelectorAll(".chosen").forEach((other) => other.classList.remove("chosen"));
  node.classList.add("chosen");
  const details = document.getElementById(node.dataset.details).content.cloneNode(true);
  document.getElementById("details").replaceChildren(details);
}

let last = null, moved = 0;
graph.addEventListener("pointerdown", (event) => { last = event; moved = 0; });
window.addEventListener("pointermove", (event) => {
  if (!last || event.pointerId !== last.pointerId) return;
  const dx = event.clientX - last.clientX, dy = event.clientY - last.clientY, unit = scale();
  moved += Math.abs(dx) + Math.abs(dy);
  last = event;
  show({ ...view, x: view.x - dx * unit, y: view.y - dy * unit });
});
for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, () => { last = null; });
graph.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const { left, top, width, height } = graph.getBoundingClientRect();
  zoom(event.deltaY < 0 ? 0.85 : 1 / 0.85, (event.clientX - left) / width, (event.clientY - top) / height);
}, { passive: false });
document.getElementById("in").onclick = () => zoom(0.75);
document.getElementById("out").onclick = () => zoom(1 / 0.75);
document.getElementById("all").onclick = () => show({ ...whole });
for (const node of graph.querySelectorAll(".node")) {
  node.addEventListener("click", () => { if (moved < 5) choose(node); });
  node.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(node); });
}
start();
choose(graph.querySelector(".node"));
