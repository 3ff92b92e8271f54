// The ledger as a flow chart: at each boundary all that arrives is one width, and what goes elsewhere branches off.
const exits = [["absorbed", "#8a8f98"], ["reflected", "#D55E00"], ["diffused", "#CC79A7"], ["guided", "#0072B2"]];
const guideColour = "#0072B2", gainColour = "#E69F00", imaginaryColour = "#56B4E9";

function ledger(run) {
  const seen = exits.filter(([name]) => run.ledger.some(entry => entry[name] > 0));
  const names = [["passes", "var(--passes)"]];
  if (run.ledger.some(entry => entry.quadrature > 0)) names.push(["passes, imaginary part", imaginaryColour]);
  names.push(...seen);
  if (run.ledger.some(entry => entry.gained)) names.push(["added by the band", gainColour]);
  return el("div", { class: "card" }, legend(...names), el("div", { class: "scroll" }, fitted(300, width => flow(run, width))));
}

function flow(run, width) {
  const count = run.ledger.length, top = 26, step = count > 16 ? 62 : 80, height = top + count * step + 34;
  const left = clamp(width * .34, 122, 190), room = Math.min(width * .38, 380), right = left + room, edge = Math.min(width - 96, right + 90);
  const root = svg("svg", { class: "flow", width, height, tabindex: 0, role: "img", "data-key": `${run.name} flow`,
    "aria-label": "where the energy goes at each boundary; up and down move and tell the numbers" });
  const entry = b => run.ledger[b], y = b => top + (count - 1 - b) * step;
  const ribbon = (x0, x1, y0, x2, x3, y1, colour, opacity) => {
    const m = y0 + .7 * (y1 - y0);
    return svg("path", { fill: colour, "fill-opacity": opacity,
      d: `M${x0} ${y0}C${x0} ${m} ${x2} ${m} ${x2} ${y1}L${x3} ${y1}C${x3} ${m} ${x1} ${m} ${x1} ${y0}Z` });
  };
  const word = (x, y, text, name, anchor) => svg("text", { x, y, class: name, "text-anchor": anchor || "start" }, text);
  const groups = [], leaving = new Map();
  root.append(word(left + room / 2, 14, "loss", "quiet", "middle"));
  for (let b = count - 1; b >= 0; b--) {
    const e = entry(b), total = e.incoming + Math.max(0, e.arrived) + Math.max(0, e.gained) || 1;
    const out = e.outgoing + e.quadrature, w = x => Math.max(0, x) / total * room;
    const group = svg("g", { class: "part" }), at = y(b), under = at + 6;
    // The layer below: whatever it makes of the energy, its output is one width again.
    const below = b > 0 ? entry(b - 1) : null, next = at + step;
    const share = below ? below.incoming / (below.incoming + Math.max(0, below.arrived) + Math.max(0, below.gained) || 1) : 1;
    const imaginary = out > 0 ? w(out) * e.quadrature / out : 0;
    const target = room * share, cut = out > 0 ? target * (1 - e.quadrature / out) : target;
    group.append(ribbon(left, left + w(out) - imaginary, under, left, left + cut, next, "var(--passes)", .55));
    if (imaginary > 0) group.append(ribbon(left + w(out) - imaginary, left + w(out), under, left + cut, left + target, next, imaginaryColour, .6));
    // The one on the right turns away first, so that none crosses another.
    const going = exits.filter(([name]) => e[name] > 0);
    let x = left + w(out), label = at + 12 + 15 * going.length;
    for (const [name, colour] of going) {
      const thick = Math.max(1, w(e[name])), half = clamp(thick / 2, 1, 6);
      label -= 15;
      if (name === "guided") leaving.set(b, { x: x + thick / 2, y: under, thick });
      else group.append(svg("path", { fill: colour, "fill-opacity": .75,
        d: `M${x} ${under}C${x} ${label + half} ${x + thick} ${label + half} ${edge} ${label + half}L${edge} ${label - half}C${x + thick + 20} ${label - half} ${x + thick} ${label - half} ${x + thick} ${under}Z` }));
      group.append(word(edge + 6, label + 4, `${name} ${percent(e[name] / total)}`, "exit halo"));
      x += thick;
    }
    if (e.gained) {
      const thick = Math.max(1, w(Math.abs(e.gained)));
      group.append(svg("path", { fill: "none", stroke: gainColour, "stroke-width": Math.min(8, thick), "stroke-opacity": .8,
        d: `M${left - 46} ${at - 12}C${left - 20} ${at - 12} ${left - 6} ${at - 10} ${left + 4} ${at}` }));
    }
    group.append(svg("rect", { class: "bound", x: left, y: at, width: room, height: 6, rx: 1 }));
    group.append(word(left - 8, at + 8, `${b}`, "node", "end"));
    const rows = Math.max(1, e.rows);
    if (width > 520) group.append(word(left - 32, at + 8, number(out / rows), "quiet", "end"));
    const gain = below && out > 0 ? below.incoming / Math.max(1, below.rows) / (out / rows) : null;
    group.append(word(left - 8, at + step / 2 + 8, run.layers[b] , "gain", "end"));
    if (gain !== null) group.append(word(left + 8, at + step / 2 + 8, `×${number(Number(gain.toPrecision(3)))}`, "gain halo"));
    const lines = [`boundary ${b}, above ${run.layers[b]}`, `energy in ${number(e.incoming)}, a row ${number(e.incoming / rows)}`,
      `passes ${number(out)}, ${percent(out / total)}`];
    if (e.quadrature) lines.push(`of it imaginary ${number(e.quadrature)}`);
    for (const [name] of exits) if (e[name]) lines.push(`${name} ${number(e[name])}, ${percent(e[name] / total)}`);
    if (e.arrived) lines.push(`arrived by guides ${number(e.arrived)}`);
    if (e.gained) lines.push(`added by the band ${number(e.gained)}`);
    if (e.angle_mean) lines.push(`turned by ${number(e.angle_mean * 180 / Math.PI)}°, at most ${number(e.angle_max * 180 / Math.PI)}°`);
    if (e.phase_spread) lines.push(`phase spread ${number(e.phase_spread)}`);
    for (const name of ["coherence", "gate"]) if (e[name] !== null) lines.push(`${name} ${number(e[name])}`);
    if (e.jacobian !== null) lines.push(`derivative by the gate ${number(e.jacobian)}`);
    if (gain !== null) lines.push(`${run.layers[b]} makes ${number(gain)} times as much a row of it`);
    group.lines = lines.join("\n");
    group.addEventListener("mousemove", event => say(group.lines, event.clientX, event.clientY));
    group.addEventListener("mouseleave", hush);
    groups.push(group);
    root.append(group);
  }
  root.append(word(left + room / 2, height - 8, "features of the graphemes", "quiet", "middle"));
  // Guides leave the ribbon, run down beside it and come in from the side.
  run.guides.forEach(([from, to], i) => {
    const begin = leaving.get(from);
    if (!begin || !entry(to)) return;
    const lane = right + 14 + 12 * i, thick = Math.max(2, begin.thick / run.guides.filter(guide => guide[0] === from).length);
    const path = svg("path", { fill: "none", stroke: guideColour, "stroke-width": Math.min(14, thick), "stroke-opacity": .7, "stroke-linejoin": "round",
      d: `M${begin.x} ${begin.y}C${begin.x} ${begin.y + 26} ${lane} ${begin.y + 6} ${lane} ${begin.y + 34}L${lane} ${y(to) - 34}C${lane} ${y(to) - 10} ${right - 6} ${y(to) - 24} ${right - 8} ${y(to)}` });
    const text = `guide from boundary ${from} to ${to}\ncarries ${number(entry(from).guided)}\nadds ${number(entry(to).arrived)} there, interference included`;
    path.addEventListener("mousemove", event => say(text, event.clientX, event.clientY));
    path.addEventListener("mouseleave", hush);
    root.prepend(path);
  });
  let at = -1;
  const point = () => groups.forEach((group, i) => group.classList.toggle("chosen", i === at));
  root.addEventListener("keydown", event => {
    const move = direction(event);
    if (!move) return;
    at = clamp(at + (move[1] || Math.sign(move[0])), 0, groups.length - 1);
    point();
    groups[at].scrollIntoView({ block: "nearest" });
    const box = groups[at].querySelector(".bound").getBoundingClientRect();
    say(groups[at].lines, box.left, box.bottom);
  });
  root.addEventListener("blur", () => { at = -1; point(); hush(); });
  return root;
}
