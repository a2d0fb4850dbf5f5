// Shows under the pointer, a finger or the arrow keys what a figure says: pressure, median, interval, the cell there.
// Without this file the figure is a picture; what is shown comes as text from the server.
"use strict";

const NEAR = 14; // px between the pointer and a cell that is meant

function part(figure, className) {
  const element = document.createElement("div");
  element.className = className;
  element.hidden = true;
  figure.append(element);
  return element;
}

function attach(figure) {
  const image = figure.querySelector("img");
  const rule = part(figure, "rule"), ring = part(figure, "ring");
  const text = document.createElement("p");
  text.className = "reading hint";
  text.textContent = "Point at the figure, or use the arrow keys (page up and down: cell by cell).";
  figure.after(text);
  figure.tabIndex = 0;
  for (const [name, value] of Object.entries({
    role: "slider", "aria-label": "Stacking pressure on the figure", "aria-valuemin": 0, "aria-valuemax": 0,
    "aria-valuenow": 0, "aria-valuetext": "not chosen yet",
  })) figure.setAttribute(name, value);

  let known = null, from = "", at = -1, cellAt = -1;

  async function read() {
    if (from !== image.currentSrc) {
      const narrow = image.currentSrc.includes("narrow=true") ? "&narrow=true" : "";
      const answer = await fetch(figure.dataset.readings + narrow);
      if (!answer.ok) return null;
      known = await answer.json();
      known.cells.sort((one, other) => one.x - other.x);
      from = image.currentSrc;
    }
    return known;
  }

  function show(point, cell) {
    const { clientWidth: width, clientHeight: height } = image, [, top, , tall] = known.box;
    const x = (cell || point).x * width;
    rule.hidden = false;
    Object.assign(rule.style, { left: `${x}px`, top: `${top * height}px`, height: `${tall * height}px` });
    ring.hidden = !cell;
    if (cell) Object.assign(ring.style, { left: `${x}px`, top: `${cell.y * height}px` });
    at = known.points.indexOf(point);
    text.textContent = cell ? `${cell.text}. Curve at ${point.text}.` : `${point.text}.`;
    figure.setAttribute("aria-valuemax", known.points.length - 1);
    figure.setAttribute("aria-valuenow", at);
    figure.setAttribute("aria-valuetext", text.textContent);
  }

  const nearest = (things, far) => things.reduce((best, each) => (far(each) < far(best) ? each : best), things[0]);
  const pointAt = (x) => nearest(known.points, (each) => Math.abs(each.x - x));

  async function pointed(event) {
    if (!(await read())) return;
    const area = image.getBoundingClientRect();
    const x = event.clientX - area.left, y = event.clientY - area.top;
    const far = (each) => Math.hypot(each.x * area.width - x, each.y * area.height - y);
    const cell = known.cells.length ? nearest(known.cells, far) : null;
    show(pointAt(x / area.width), cell && far(cell) <= NEAR ? cell : null);
  }

  async function pressed(event) {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const end = { Home: 0, End: Infinity }[event.key], next = { PageUp: 1, PageDown: -1 }[event.key];
    if (step === undefined && end === undefined && next === undefined) return;
    event.preventDefault();
    if (!(await read())) return;
    const within = (index, things) => Math.min(Math.max(index, 0), things.length - 1);
    if (next && known.cells.length) {
      cellAt = within(cellAt + next, known.cells);
      show(pointAt(known.cells[cellAt].x), known.cells[cellAt]);
    } else if (!next) show(known.points[within(end ?? at + step, known.points)], null);
  }

  figure.addEventListener("pointermove", pointed);
  figure.addEventListener("pointerdown", pointed);
  figure.addEventListener("keydown", pressed);
}

document.querySelectorAll(".figure").forEach(attach);
