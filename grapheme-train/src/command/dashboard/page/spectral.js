// A predictor of wave fields: a player of frame, prediction, error and stored error, with bands to switch.
const spectralSections = [
  ["overview", "The run", "", run => [el("div", { class: "card" }, el("div", { class: "name" }, run.name), facts(run))]],
  ["player", "Frame by frame", "What came, what was expected, the error, and the error that is stored until it breaks down. Space plays.",
    run => run.player && [fieldPlayer(run)]],
  ["loss", "Loss of the attention", "In units of what the recurrences leave.", run => run.loss && [plot(run.loss, "loss over frames", `${run.name} loss`)]],
  ["figures", "Mean squared error, one step ahead", "The predictor, its recurrences without attention, and each of them alone.",
    run => run.figures.length && [el("div", { class: "card table" }, el("table", {},
      el("thead", {}, el("tr", {}, ...["method", "mean", "median"].map(name => el("th", {}, name)))),
      el("tbody", {}, ...run.figures.map(figure => el("tr", {}, el("td", {}, figure.name), el("td", {}, number(figure.mean)), el("td", {}, number(figure.median)))))))]],
];

const bytesOf = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));

function fieldPlayer(run) {
  const { shape, cells: [h, w], bands, ranges, peak, moments, course, events } = run.player, key = `${run.name} player`;
  const size = h * w, last = moments.length - 1;
  let at = clamp(chosen.get(key) ?? 0, 0, last), timer = null, maps = null;
  const on = bands.map((_, k) => chosen.get(`${key} band ${k}`) ?? true);
  const shown = new Map([["isolines", true], ["wormholes", true], ["breakdowns", true]].map(([name, is]) => [name, chosen.get(`${key} ${name}`) ?? is]));

  // Sums over the bands that are switched on.
  const decode = () => {
    const moment = moments[at], field = bytesOf(moment.field), error = bytesOf(moment.error), stored = bytesOf(moment.stored);
    maps = { frame: new Float64Array(size), prediction: new Float64Array(size), error: new Float64Array(size), stored: new Float64Array(size) };
    for (let p = 0; p < size; p++) {
      bands.forEach((_, k) => {
        if (!on[k]) return;
        const [low, high] = ranges[k], root = (error[k * size + p] - 128) / 127;
        const wrong = Math.sign(root) * root * root * peak;
        maps.frame[p] += low + (high - low) * field[k * size + p] / 255;
        maps.error[p] += wrong;
      });
      maps.prediction[p] = maps.frame[p] - maps.error[p];
      maps.stored[p] = stored[p] / 255;
    }
    // Bands without the mean swing about zero and are drawn about grey.
    const middle = on[0] ? 0 : 0.5;
    for (const name of ["frame", "prediction"]) for (let p = 0; p < size; p++) maps[name][p] += middle;
  };

  const panels = [["frame", "came"], ["prediction", "expected"], ["error", "error"], ["stored", "stored error"]].map(([name, title]) => {
    const canvas = el("canvas", { width: w, height: h }), over = svg("svg", { viewBox: `-0.5 -0.5 ${shape[1]} ${shape[0]}`, tabindex: 0, role: "img",
      "aria-label": `${title}; arrow keys move and tell the numbers`, "data-key": `${key} ${name}` });
    let cell = [h >> 1, w >> 1];
    const tell = (x, y) => {
      const p = cell[0] * w + cell[1], scale = shape[0] / h;
      const place = scale === 1 ? `row ${cell[0]}, column ${cell[1]}` : `rows from ${Math.round(cell[0] * scale)}, columns from ${Math.round(cell[1] * scale)}`;
      say(`frame ${moments[at].frame}, ${place}\ncame ${number(maps.frame[p])}\nexpected ${number(maps.prediction[p])}\nerror ${number(maps.error[p])}\nstored ${number(maps.stored[p])}`, x, y);
    };
    over.addEventListener("mousemove", event => {
      const box = over.getBoundingClientRect();
      cell = [clamp(Math.floor((event.clientY - box.top) / box.height * h), 0, h - 1), clamp(Math.floor((event.clientX - box.left) / box.width * w), 0, w - 1)];
      tell(event.clientX, event.clientY);
    });
    over.addEventListener("mouseleave", hush);
    over.addEventListener("blur", hush);
    over.addEventListener("keydown", event => {
      const move = direction(event);
      if (!move) return;
      cell = [clamp(cell[0] + move[1], 0, h - 1), clamp(cell[1] + move[0], 0, w - 1)];
      const box = over.getBoundingClientRect();
      tell(box.left + (cell[1] + .5) / w * box.width, box.top + (cell[0] + .5) / h * box.height);
    });
    return { name, canvas, over, box: el("figure", {}, el("div", {}, canvas, over), el("figcaption", {}, title)) };
  });

  const paint = ({ name, canvas, over }) => {
    const context = canvas.getContext("2d"), image = context.createImageData(w, h), map = maps[name], moment = moments[at];
    for (let p = 0; p < size; p++) {
      const colour = name === "error" ? heat(Math.sqrt(Math.abs(map[p]) / peak)) : name === "stored" ? heat(map[p]) : Array(3).fill(Math.round(255 * clamp(map[p], 0, 1)));
      image.data.set([...colour, 255], 4 * p);
    }
    context.putImageData(image, 0, 0);
    const marks = [];
    if (name === "error" && shown.get("isolines") && moment.front.length)
      marks.push(svg("path", { class: "front", d: moment.front.map(([a, b, c, d]) => `M${b} ${a}L${d} ${c}`).join("") }));
    if (name === "frame" && shown.get("wormholes")) for (const [weight, [i, j, k, l]] of moment.links) {
      marks.push(svg("path", { class: "link", d: `M${j} ${i}L${l} ${k}`, style: `opacity:${.35 + .65 * Math.min(1, 2 * weight)}` }), svg("circle", { class: "end", cx: j, cy: i, r: shape[0] / 90 }));
    }
    if (name === "stored" && shown.get("breakdowns")) for (const [frame, row, column, many] of events)
      if (frame === moment.frame) marks.push(svg("circle", { class: "broken", cx: column, cy: row, r: Math.max(1.5, Math.sqrt(many / Math.PI)) }));
    over.replaceChildren(...marks);
  };

  const slider = el("input", { type: "range", min: 0, max: last, value: at, "aria-label": "frame", "data-key": `${key} time` });
  const words = el("output", {}), play = el("button", { type: "button", "data-key": `${key} play` }, "Play");
  const spectra = el("div", { class: "spectra" }), timeline = el("div", {});
  const tellLinks = () => moments[at].links.length ? `, the heaviest wormhole leads ${moments[at].links[0][1][4]} frame${moments[at].links[0][1][4] === 1 ? "" : "s"} back` : "";
  const show = () => {
    decode();
    panels.forEach(paint);
    const moment = moments[at], here = course.find(([frame]) => frame === moment.frame), broken = events.filter(([frame]) => frame === moment.frame).length;
    slider.value = at;
    words.textContent = `frame ${moment.frame}: mean squared error ${number(here[1])}, trust ${number(here[3])}${broken ? `, ${broken} breakdowns` : ""}${tellLinks()}`;
    spectra.replaceChildren(drawSpectra(moment));
    const line = timeline.querySelector(".now");
    if (line) line.setAttribute("d", `M${xOf(moment.frame)} 6V104`);
    chosen.set(key, at);
  };
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const go = () => {
    if (timer) return stop();
    if (at === last) at = 0;
    play.textContent = "Pause";
    timer = setInterval(() => { if (!slider.isConnected || at >= last) return stop(); at++; show(); }, 100);
  };
  play.addEventListener("click", go);
  slider.addEventListener("input", () => { at = Number(slider.value); show(); });

  const flip = (name, is, change) => {
    const input = el("input", { type: "checkbox", "data-key": `${key} ${name}`, ...(is ? { checked: "" } : {}) });
    input.addEventListener("change", () => { chosen.set(`${key} ${name}`, input.checked); change(input.checked); show(); });
    return el("label", {}, input, name.replace(/^band \d+ /, ""));
  };
  const switches = [el("span", {}, "bands"), ...bands.map((name, k) => {
    const label = flip(`band ${k}`, on[k], is => { on[k] = is; });
    label.lastChild.textContent = name;
    return label;
  }), el("span", {}, "show"), ...[...shown].map(([name, is]) => flip(name, is, now => shown.set(name, now)))];

  // Energy by number of waves over the frame, of what came, what was expected and the error.
  function drawSpectra(moment) {
    const all = moments.flatMap(({ spectra }) => spectra.flat()).filter(e => e > -30), high = Math.ceil(Math.max(...all)), low = Math.floor(Math.min(...all, high - 1));
    const n = moment.spectra[0].length, x = i => 40 + i / Math.max(1, n - 1) * 350, y = e => 10 + (high - Math.max(e, low)) / Math.max(1, high - low) * 120;
    const picture = svg("svg", { viewBox: "0 0 400 160", tabindex: 0, role: "img", "aria-label": "energy by radius; arrow keys move along it", "data-key": `${key} spectra` });
    for (const e of [low, Math.round((low + high) / 2), high]) picture.append(svg("path", { class: "rule", d: `M40 ${y(e)}H390` }), Object.assign(svg("text", { x: 36, y: y(e) + 4, "text-anchor": "end" }), { textContent: `1e${e}` }));
    picture.append(Object.assign(svg("text", { x: 215, y: 154, "text-anchor": "middle" }), { textContent: "cycles over the frame" }));
    for (const i of [0, n >> 1, n - 1]) picture.append(Object.assign(svg("text", { x: x(i), y: 142, "text-anchor": "middle" }), { textContent: i }));
    moment.spectra.forEach((energies, k) => picture.append(svg("path", { class: `spectrum s${k}`, d: energies.map((e, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(e).toFixed(1)}`).join("") })));
    let i = 0;
    const tell = (px, py) => say([`${i} cycles`, ...["came", "expected", "error"].map((name, k) => `${name} ${number(10 ** moment.spectra[k][i])}`)].join("\n"), px, py);
    picture.addEventListener("mousemove", event => {
      const box = picture.getBoundingClientRect();
      i = clamp(Math.round(((event.clientX - box.left) / box.width * 400 - 40) / 350 * (n - 1)), 0, n - 1);
      tell(event.clientX, event.clientY);
    });
    picture.addEventListener("mouseleave", hush);
    picture.addEventListener("blur", hush);
    picture.addEventListener("keydown", event => {
      const move = direction(event);
      if (!move) return;
      i = clamp(i + move[0], 0, n - 1);
      const box = picture.getBoundingClientRect();
      tell(box.left + x(i) / 400 * box.width, box.top + box.height / 3);
    });
    return picture;
  }

  // The error of every frame, with a dot for each breakdown, as large as what it released.
  const first = course[0][0], span = Math.max(1, course[course.length - 1][0] - first);
  let wide = 800;
  const xOf = frame => 40 + (frame - first) / span * (wide - 50);
  function drawTimeline(width) {
    wide = width;
    const logs = course.map(([, error]) => Math.log10(Math.max(error, 1e-30))), high = Math.ceil(Math.max(...logs)), low = Math.min(high - 1, Math.floor(Math.min(...logs)));
    const y = e => 10 + (high - e) / (high - low) * 90;
    const picture = svg("svg", { viewBox: `0 0 ${width} 130`, tabindex: 0, role: "img", "aria-label": "errors and breakdowns over frames; arrow keys move in time", "data-key": `${key} timeline` });
    for (const e of [low, high]) picture.append(svg("path", { class: "rule", d: `M40 ${y(e)}H${width - 10}` }), Object.assign(svg("text", { x: 36, y: y(e) + 4, "text-anchor": "end" }), { textContent: `1e${e}` }));
    for (const frame of [first, first + span]) picture.append(Object.assign(svg("text", { x: xOf(frame), y: 124, "text-anchor": frame === first ? "start" : "end" }), { textContent: `frame ${frame}` }));
    picture.append(svg("path", { class: "spectrum s2", d: course.map(([frame], i) => `${i ? "L" : "M"}${xOf(frame).toFixed(1)} ${y(logs[i]).toFixed(1)}`).join("") }));
    const most = Math.max(1e-9, ...events.map(event => event[4]));
    for (const [frame, row, column, many, released] of events)
      picture.append(svg("circle", { class: "broken", cx: xOf(frame), cy: 105, r: 2 + 5 * Math.sqrt(released / most) }));
    picture.append(svg("path", { class: "now", d: `M${xOf(moments[at].frame)} 6V104` }));
    const nearest = frame => moments.reduce((best, moment, i) => Math.abs(moment.frame - frame) < Math.abs(moments[best].frame - frame) ? i : best, 0);
    const go = frame => { at = nearest(frame); show(); };
    picture.addEventListener("click", event => {
      const box = picture.getBoundingClientRect();
      go(first + ((event.clientX - box.left) / box.width * width - 40) / (width - 50) * span);
    });
    picture.addEventListener("mousemove", event => {
      const box = picture.getBoundingClientRect(), frame = Math.round(first + ((event.clientX - box.left) / box.width * width - 40) / (width - 50) * span);
      const here = course.find(([other]) => other === frame);
      if (!here) return hush();
      const broken = events.filter(([other]) => other === frame).map(([, row, column, many, released]) => `breakdown at row ${number(row)}, column ${number(column)}: ${many} cells, ${number(released)} released`);
      say([`frame ${frame}, error ${number(here[1])}, stored ${number(here[2])}`, ...broken].join("\n"), event.clientX, event.clientY);
    });
    picture.addEventListener("mouseleave", hush);
    picture.addEventListener("keydown", event => {
      const move = direction(event);
      if (!move) return;
      at = clamp(at + move[0], 0, last);
      show();
    });
    return picture;
  }

  const box = el("div", { class: "player card" },
    el("div", { class: "bar" }, play, slider, words), el("div", { class: "bar switches" }, ...switches),
    el("div", { class: "panels" }, ...panels.map(panel => panel.box)),
    el("h3", {}, "Errors and breakdowns"), timeline,
    el("h3", {}, "Energy by radius"), el("div", { class: "legend" }, ...["came", "expected", "error"].map((name, k) => el("span", { class: `s${k}` }, el("i", {}), name))), spectra);
  box.addEventListener("keydown", event => {
    if (event.key !== " " || event.target.matches("button, input[type=checkbox]")) return;
    event.preventDefault();
    go();
  });
  timeline.append(fitted(300, drawTimeline));
  show();
  return box;
}
