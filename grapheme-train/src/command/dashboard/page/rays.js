// The strongest rays of an example over its graph, and what was merged on the way.
function examples(run) {
  const place = el("div", {}), key = `${run.name} example`;
  const show = i => {
    const example = run.examples[i], right = example.written === example.target;
    const words = right ? "The model writes it right." : `The model writes ${example.written || "nothing"}.`;
    const nodes = Math.max(...example.levels.map(level => level.nodes.length));
    place.replaceChildren(el("p", {}, words),
      el("div", { class: "card" }, interference(), fitted(Math.min(nodes * 20, 900), width => rayDrawing(run, example, width))),
      el("h3", {}, "Merge history"), el("p", {}, "What each output node was made of, and with what weight, when every candidate does what it does in the reading above."),
      el("div", { class: "card" }, ...merges(run, example)));
  };
  const select = choice(key, "example", run.examples.map(example => `${example.input} → ${example.target}`), show);
  return [el("div", { class: "bar" }, select), place];
}

// A ray beside the sum of all where it ends: blue adds to it, orange takes away from it, grey is indifferent.
function tint(share) {
  const strength = Math.min(1, Math.sqrt(Math.abs(share) * 4)), end = share >= 0 ? [0, 114, 178] : [213, 94, 0];
  return `rgb(${[140, 140, 140].map((grey, i) => Math.round(grey + strength * (end[i] - grey)))})`;
}

function interference() {
  const scale = [-.25, -.1, 0, .1, .25].map(tint).join();
  return el("div", { class: "legend" }, "against the rest", el("span", { class: "scale", style: `background:linear-gradient(90deg,${scale})` }), "with it",
    el("span", {}, "width: energy"), el("span", {}, "fading: energy lost since the loss"), el("span", {}, "bend: mean angle of refraction"));
}

function rayDrawing(run, example, width) {
  const levels = example.levels, gap = 66, top = 34, height = top + gap * (levels.length - 1) + 24;
  const root = svg("svg", { class: "rays", width, height, tabindex: 0, role: "img", "data-key": `${run.name} rays`,
    "aria-label": "rays from the loss to the graphemes; arrow keys go from node to node" });
  const gutter = width > 640 ? 128 : 0;
  const x = (level, node) => gutter + 26 + (width - gutter - 52) * (levels[level].nodes.length < 2 ? .5 : node / (levels[level].nodes.length - 1));
  const y = level => top + gap * level;
  const most = Math.max(...example.rays.flatMap(ray => ray.energies.slice(1)), 1e-300);
  const through = levels.map(level => level.nodes.map(() => ({ energy: 0, rays: [] })));
  example.rays.forEach((ray, r) => ray.places.forEach(([level, node], i) => {
    const place = through[level][node];
    if (place) { place.energy += ray.energies[i]; place.rays.push(r); }
  }));
  const label = ([level, node]) => levels[level].nodes[node] || "·";
  const groups = example.rays.map(ray => {
    const group = svg("g", { class: "part" });
    let whole = "";
    for (let i = 1; i < ray.places.length; i++) {
      const [a, b] = [ray.places[i - 1], ray.places[i]];
      const [x0, y0, x1, y1] = [x(...a), y(a[0]), x(...b), y(b[0])];
      // Light bends where it crosses: it arrives turned by the angle of the boundary, away from the straight way on.
      const bend = Math.tan(Math.min(1.2, levels[b[0]].angle)) * gap * .45;
      // A step of a recurrence stays on its level and is drawn as an arc below it.
      const d = y0 === y1 ? `M${x0} ${y0}Q${(x0 + x1) / 2} ${y0 + gap * .45} ${x1} ${y1}`
        : `M${x0} ${y0}C${x0 + bend} ${y0 + gap * .4} ${x1 + bend} ${y1 - gap * .4} ${x1} ${y1}`;
      whole += d;
      group.append(svg("path", { d, fill: "none", stroke: tint(ray.share), "stroke-linecap": "round",
        "stroke-opacity": clamp(Math.pow(ray.energies[i] / (ray.energies[0] || 1), .3), .12, 1),
        "stroke-width": clamp(9 * Math.sqrt(ray.energies[i] / most), .5, 9) }));
    }
    group.append(svg("path", { d: whole, class: "hit" }));
    return group;
  });
  // The strongest on top.
  [...groups].reverse().forEach(group => root.append(group));
  levels.forEach((level, l) => {
    root.append(svg("text", { class: "quiet halo", x: 4, y: y(l) + (gutter ? 4 : -16) }, level.name));
    if (level.angle) root.append(svg("text", { class: "quiet halo", x: gutter ? 4 : 110, y: y(l) - (gutter ? 10 : 16) }, `turned by ${number(level.angle * 180 / Math.PI)}°`));
    const highest = Math.max(...through[l].map(place => place.energy), 1e-300);
    level.nodes.forEach((name, n) => {
      const place = through[l][n], r = place.energy > 0 ? 2 + 5 * Math.sqrt(place.energy / highest) : 1.5;
      const short = level.nodes.length * 34 > width - gutter ? { begin: "⊢", end: "⊣" }[name] || name : name;
      root.append(svg("circle", { cx: x(l, n), cy: y(l), r, fill: "var(--ink)", "fill-opacity": place.energy > 0 ? .35 : .15 }),
        svg("text", { class: "node halo", x: x(l, n), y: y(l) + 5, "text-anchor": "middle", style: short.length > 3 ? "font-size:10.5px" : "" }, short));
    });
  });
  const light = rays => {
    root.classList.toggle("some", rays.length > 0);
    groups.forEach((group, r) => group.classList.toggle("on", rays.includes(r)));
  };
  const aboutNode = (l, n) => {
    const place = through[l][n], level = levels[l];
    const what = l ? `${level.name}, node ${n}: ${level.nodes[n]}` : `candidate ${n}: ${level.nodes[n] ? `writes ${level.nodes[n]}` : "merges"}`;
    return `${what}\n${place.rays.length} of ${example.rays.length} rays, energy ${number(place.energy)}`;
  };
  const aboutRay = r => {
    const ray = example.rays[r];
    const way = ray.places.map((place, i) => `${label(place)} ${number(ray.energies[i])}`).join("\n  ");
    const role = ray.share >= 0 ? "adds" : "takes away";
    const phase = ray.phase ? `\nturned in phase by ${number(ray.phase * 180 / Math.PI)}°` : "";
    return `ray ${r + 1} of ${example.rays.length}, energy on its way\n  ${way}${phase}\nit ${role} ${percent(Math.abs(ray.share))} of the sum at its end`;
  };
  root.addEventListener("mousemove", event => {
    const box = root.getBoundingClientRect(), at = [event.clientX - box.left, event.clientY - box.top];
    const l = clamp(Math.round((at[1] - top) / gap), 0, levels.length - 1);
    const near = levels[l].nodes.findIndex((_, n) => Math.hypot(x(l, n) - at[0], y(l) - at[1]) < 10);
    const ray = groups.indexOf(event.target.closest("g"));
    if (near >= 0) { light(through[l][near].rays); say(aboutNode(l, near), event.clientX, event.clientY); }
    else if (ray >= 0) { light([ray]); say(aboutRay(ray), event.clientX, event.clientY); }
    else { light([]); hush(); }
  });
  const clear = () => { light([]); hush(); };
  root.addEventListener("mouseleave", clear);
  root.addEventListener("blur", clear);
  let [l, n] = [levels.length, 0];
  root.addEventListener("keydown", event => {
    const move = direction(event);
    if (!move) return;
    l = clamp(l + move[1], 0, levels.length - 1);
    n = clamp(n + move[0], 0, levels[l].nodes.length - 1);
    light(through[l][n].rays);
    const box = root.getBoundingClientRect();
    say(aboutNode(l, n), box.left + x(l, n), box.top + y(l));
  });
  return root;
}
