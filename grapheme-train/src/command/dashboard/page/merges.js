// Input nodes above, output nodes below, and between them the weights of the merge history.
function merges(run, example) {
  const history = example.merges, dropped = new Set(history.dropped);
  const line = output => output.parts.map(([node, weight]) => `${history.inputs[node]} ${percent(weight)}`).join(", ");
  const list = history.outputs.map(output => el("li", { class: "note" }, `${output.writes} was made of ${line(output)}`));
  if (dropped.size) list.push(el("li", {}, `dropped: ${history.dropped.map(node => history.inputs[node]).join(", ")}`));
  return [fitted(Math.min(history.inputs.length * 22, 700), width => mergeDrawing(run, history, dropped, width)),
    el("details", {}, el("summary", {}, "In words"), el("ul", { class: "words" }, ...list))];
}

function mergeDrawing(run, history, dropped, width) {
  const height = 170, top = 40, bottom = 130;
  const root = svg("svg", { width, height, tabindex: 0, role: "img", "data-key": `${run.name} merges`,
    "aria-label": "what each output node was made of; left and right move" });
  const x = (i, n) => 26 + (width - 52) * (n < 2 ? .5 : i / (n - 1));
  const from = node => x(node, history.inputs.length);
  // An output stands below the middle of what it was made of.
  const centre = output => output.parts.reduce((sum, [node, w]) => sum + w * from(node), 0) / (output.parts.reduce((sum, part) => sum + part[1], 0) || 1);
  const to = history.outputs.map(centre);
  for (let i = 1; i < to.length; i++) to[i] = Math.max(to[i], to[i - 1] + 18);
  for (let i = to.length - 1, end = width - 14; i >= 0; i--, end -= 18) to[i] = Math.min(to[i], end);
  root.append(svg("text", { class: "quiet", x: 4, y: 14 }, "graphemes"), svg("text", { class: "quiet", x: 4, y: height - 8 }, "what the output nodes write"));
  const groups = history.outputs.map((output, i) => {
    const group = svg("g", { class: "part" });
    for (const [node, weight] of output.parts) {
      group.append(svg("path", { fill: "none", stroke: "var(--passes)", "stroke-width": clamp(10 * weight, .5, 10), "stroke-opacity": .25 + .6 * weight,
        d: `M${from(node)} ${top + 8}C${from(node)} ${top + 50} ${to[i]} ${bottom - 50} ${to[i]} ${bottom - 12}` }));
    }
    group.append(svg("text", { class: "node", x: to[i], y: bottom + 4, "text-anchor": "middle" }, output.writes || "·"));
    root.append(group);
    return group;
  });
  history.inputs.forEach((name, node) => root.append(svg("text", { class: "node", x: from(node), y: top, "text-anchor": "middle",
    style: (name.length > 3 ? "font-size:10.5px;" : "") + (dropped.has(node) ? "text-decoration:line-through" : "") }, name)));
  const about = i => {
    const parts = history.outputs[i].parts.map(([node, weight]) => `  ${history.inputs[node]} ${percent(weight)}`);
    return `output node ${i} writes ${history.outputs[i].writes}\n${parts.join("\n")}`;
  };
  const light = at => {
    root.classList.toggle("some", at >= 0);
    groups.forEach((group, i) => group.classList.toggle("on", i === at));
  };
  const clear = () => { light(-1); hush(); };
  root.addEventListener("mousemove", event => {
    const at = groups.indexOf(event.target.closest("g"));
    light(at);
    if (at >= 0) say(about(at), event.clientX, event.clientY); else hush();
  });
  root.addEventListener("mouseleave", clear);
  root.addEventListener("blur", clear);
  let at = -1;
  root.addEventListener("keydown", event => {
    const move = direction(event);
    if (!move || !groups.length) return;
    at = clamp(at + (move[0] || move[1]), 0, groups.length - 1);
    light(at);
    const box = root.getBoundingClientRect();
    say(about(at), box.left + to[at], box.top + bottom);
  });
  return root;
}
