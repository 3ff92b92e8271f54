// Figures of every boundary at every step, as a map. `span` gives the lowest and highest value over all runs.
function energyMap(run, span) {
  const map = run.energy, rows = run.ledger.length, key = `${run.name} map`;
  const place = el("div", {});
  const names = map.figures.map(figure => figure.name);
  const select = choice(key, "figure of the map", names, i => place.replaceChildren(...drawMap(run, map.figures[i], span, key)));
  return [el("div", { class: "bar" }, select), el("div", { class: "card" }, place)];
}

function drawMap(run, figure, span, key) {
  const map = run.energy, rows = run.ledger.length, columns = map.steps.length, [low, high] = span(figure.name);
  const shown = value => value === null ? "none" : number(figure.log ? Math.pow(10, value) : value) + figure.unit;
  const canvas = el("canvas", { width: columns, height: rows, tabindex: 0, role: "img", "data-key": `${key} canvas`,
    "aria-label": `${figure.name} by boundary and step; arrow keys move and tell the numbers`,
    style: `height:${rows * (rows > 24 ? 14 : 24)}px` });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  figure.cells.forEach((step, x) => step.forEach((value, b) => {
    // What has no figure stays see-through.
    if (value === null) return;
    image.data.set([...shade(high > low ? (value - low) / (high - low) : .5), 255], 4 * ((rows - 1 - b) * columns + x));
  }));
  context.putImageData(image, 0, 0);
  overGrid(canvas, columns, rows, (column, row, px, py) => {
    const b = rows - 1 - row, [from, to] = map.steps[column];
    const lines = [`step ${from === to ? from : `${from} to ${to}`}, boundary ${b}, above ${run.layers[b]}`];
    for (const other of map.figures) {
      const value = other.cells[column][b];
      if (value !== null) lines.push(`${other.name} ${number(other.log ? Math.pow(10, value) : value)}${other.unit}`);
    }
    say(lines.join("\n"), px, py);
  });
  const ticks = Math.min(columns, 5), at = i => map.steps[Math.round(i * (columns - 1) / Math.max(1, ticks - 1))][1];
  const labels = [...Array(rows).keys()].reverse().map(b => el("span", { title: run.layers[b] }, el("span", { class: "layer" }, run.layers[b]), el("b", {}, String(b))));
  return [
    el("div", { class: "map" }, el("div", { class: "rows" }, ...labels), canvas,
      el("div", { class: "ticks" }, ...[...Array(ticks).keys()].map(i => el("span", {}, (i ? "" : "step ") + at(i))))),
    el("div", { class: "legend" }, shown(low), el("span", { class: "scale", style: `background:${shades}` }), shown(high),
      el("span", {}, figure.name + (figure.log ? ", logarithmic" : ""))),
  ];
}

// Lowest and highest value of each figure over all runs, so that two maps can be compared.
function spans(runs) {
  const known = new Map();
  return name => {
    if (!known.has(name)) {
      let low = Infinity, high = -Infinity;
      for (const run of runs) for (const figure of run.energy ? run.energy.figures : []) {
        if (figure.name !== name) continue;
        for (const step of figure.cells) for (const v of step) if (v !== null) { low = Math.min(low, v); high = Math.max(high, v); }
      }
      known.set(name, [low, high]);
    }
    return known.get(name);
  };
}
