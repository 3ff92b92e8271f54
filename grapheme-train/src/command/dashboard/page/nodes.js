// The nodes of watched examples: a row each, a column for each look, a ring where a long error broke down.
function nodeMaps(run) {
  const place = el("div", {}), key = `${run.name} nodes`;
  const names = run.nodes.map(map => `${map.input} → ${map.target}`);
  const select = choice(key, "watched example", names, i => place.replaceChildren(drawNodes(run.nodes[i], key)));
  return [el("div", { class: "bar" }, select), el("div", { class: "card" }, place)];
}

function drawNodes(map, key) {
  const rows = map.nodes.length, columns = map.steps.length;
  const canvas = el("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  map.errors.forEach((errors, x) => errors.forEach((error, y) => image.data.set([...heat(error), 255], 4 * (y * columns + x))));
  context.putImageData(image, 0, 0);
  const over = svg("svg", { viewBox: `0 0 ${columns} ${rows}`, preserveAspectRatio: "none", tabindex: 0, role: "img", "data-key": `${key} map`,
    "aria-label": `error of each node over steps; arrow keys move and tell the numbers` });
  for (const [look, nodes] of map.breakdowns) for (const node of nodes)
    over.append(svg("path", { class: "broken", d: `M${look + .5} ${node + .1}v.8` }));
  overGrid(over, columns, rows, (column, row, x, y) => {
    const events = map.breakdowns.filter(([look, nodes]) => look === column && nodes.includes(row));
    say([`step ${map.steps[column]}, node ${map.nodes[row]}`, `error ${number(map.errors[column][row])}`,
      `energy of the gradient over the graph ${number(map.energies[column])}`,
      ...events.map(([, nodes, released]) => `broke down: ${nodes.map(node => map.nodes[node]).join(" ")}, ${number(released)} released`)].join("\n"), x, y);
  });
  const ticks = Math.min(columns, 5), at = i => map.steps[Math.round(i * (columns - 1) / Math.max(1, ticks - 1))];
  return el("div", {}, el("div", { class: "map nodes" }, el("div", { class: "rows" }, ...map.nodes.map(name => el("span", {}, name))),
    el("div", { class: "field", style: `height:${rows * 22}px` }, canvas, over),
    el("div", { class: "ticks" }, ...[...Array(ticks).keys()].map(i => el("span", {}, (i ? "" : "step ") + at(i))))),
    el("div", { class: "legend" }, "0", el("span", { class: "scale", style: `background:linear-gradient(90deg,${[0, .25, .5, .75, 1].map(x => `rgb(${heat(x)})`).join()})` }), "1",
      el("span", {}, "error of a node"), el("span", {}, el("i", { style: "background:#009e73" }), "a long error broke down")));
}
