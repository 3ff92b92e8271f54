// Small things that every part of the page is made of.
const tip = document.getElementById("tip");

// What a person chose, by run and part, so that it outlives a new look at the run.
const chosen = new Map();

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") node.className = value; else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function number(x) {
  if (x === null || x === undefined) return "-";
  if (x === 0) return "0";
  const a = Math.abs(x);
  if (a >= 0.001 && a < 100000) return String(Number(x.toPrecision(4)));
  return x.toExponential(2).replace("e+", "e");
}

function percent(share) {
  const p = 100 * share;
  return (Math.abs(p) >= 10 ? p.toFixed(0) : p.toPrecision(2)) + "%";
}

function say(text, x, y) {
  if (tip.textContent !== text) tip.textContent = text;
  tip.style.display = "block";
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = Math.max(4, y + 16 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 10 : y + 16) + "px";
}

function hush() { tip.style.display = "none"; }

// From violet over teal to yellow, in both schemes.
const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
function shade(t) {
  const x = Math.max(0, Math.min(0.9999, t)) * 4, i = Math.floor(x), f = x - i;
  return stops[i].map((c, k) => Math.round(c + f * (stops[i + 1][k] - c)));
}
const shades = `linear-gradient(90deg,${stops.map(c => `rgb(${c})`).join()})`;

// Arrow keys as a step to the right and a step down, and ends of a row; null for other keys.
function direction(event) {
  const step = event.shiftKey ? 10 : 1;
  const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-1e9, 0], End: [1e9, 0] }[event.key];
  if (move) event.preventDefault();
  return move || null;
}

const clamp = (x, low, high) => Math.max(low, Math.min(high, x));

// From black over red and yellow to white, ever lighter, so that it also reads without colours.
const heat = x => [0, 1, 2].map(start => Math.round(255 * clamp(3 * x - start, 0, 1)));

// A box that is drawn anew for its width, at least `least` pixels.
function fitted(least, draw) {
  const box = el("div", { class: "fitted" });
  let drawn = 0;
  // Drawing changes sizes, so it waits until those of this look are told.
  new ResizeObserver(() => requestAnimationFrame(() => {
    const width = Math.max(least, Math.floor(box.clientWidth));
    if (box.clientWidth && Math.abs(width - drawn) > 4) { drawn = width; box.replaceChildren(draw(width)); }
  })).observe(box);
  return box;
}

// A select whose choice is remembered under `key`; `show` is called with the index.
function choice(key, label, names, show) {
  const before = Math.max(0, names.indexOf(chosen.get(key)));
  const select = el("select", { "aria-label": label, "data-key": key },
    ...names.map((name, i) => el("option", i === before ? { value: i, selected: "" } : { value: i }, name)));
  select.addEventListener("change", () => { chosen.set(key, names[select.value]); show(Number(select.value)); });
  show(before);
  return select;
}

// Lets a person point at the cells of a grid that `node` shows, or walk over them by arrow keys, from the last of the first row;
// `tell(column, row, x, y)` says what stands there.
function overGrid(node, columns, rows, tell) {
  let [column, row] = [columns - 1, 0];
  node.addEventListener("mousemove", event => {
    const box = node.getBoundingClientRect();
    column = clamp(Math.floor((event.clientX - box.left) / box.width * columns), 0, columns - 1);
    row = clamp(Math.floor((event.clientY - box.top) / box.height * rows), 0, rows - 1);
    tell(column, row, event.clientX, event.clientY);
  });
  node.addEventListener("mouseleave", hush);
  node.addEventListener("blur", hush);
  node.addEventListener("keydown", event => {
    const move = direction(event);
    if (!move) return;
    column = clamp(column + move[0], 0, columns - 1);
    row = clamp(row + move[1], 0, rows - 1);
    const box = node.getBoundingClientRect();
    tell(column, row, box.left + (column + .5) / columns * box.width, box.top + (row + .5) / rows * box.height);
  });
}

// Names and values under the name of a run.
function facts(run) {
  return el("dl", { class: "facts" }, ...run.facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function legend(...entries) {
  return el("div", { class: "legend" }, ...entries.map(([name, colour]) =>
    el("span", {}, el("i", { style: `background:${colour}` }), name)));
}
