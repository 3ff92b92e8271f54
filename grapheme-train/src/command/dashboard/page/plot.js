// Curves that the plotting library drew, and a hair line that tells their numbers.
function plot(data, label, key) {
  const box = el("div", { class: "plot card" }, legend(...data.curves.map(curve => [curve.name, curve.colour])));
  for (const size of ["wide", "narrow"]) {
    const frame = el("div", { class: size });
    frame.innerHTML = data[size].svg;
    const root = frame.firstElementChild;
    root.setAttribute("viewBox", `0 0 ${root.getAttribute("width")} ${root.getAttribute("height")}`);
    root.removeAttribute("width"); root.removeAttribute("height");
    Object.entries({ tabindex: 0, role: "img", "aria-label": `${label}; arrow keys move along it`, "data-key": key + size })
      .forEach(([name, value]) => root.setAttribute(name, value));
    pointed(root, data, data[size].frame);
    box.append(frame);
  }
  return box;
}

function pointed(root, data, [left, top, right, bottom]) {
  const scale = y => data.log ? Math.log(y) : y;
  const px = x => left + (x - data.x.start) / (data.x.end - data.x.start) * (right - left);
  const py = y => bottom - (scale(y) - scale(data.y.start)) / (scale(data.y.end) - scale(data.y.start)) * (bottom - top);
  const marks = svg("g", {});
  root.append(marks);
  // The curve with most points is the one that is walked along.
  const main = data.curves.reduce((a, b) => b.points.length > a.points.length ? b : a);
  let at = main.points.length - 1;
  const nearest = (points, x) => {
    let low = 0, high = points.length - 1;
    while (high - low > 1) { const middle = (low + high) >> 1; if (points[middle][0] <= x) low = middle; else high = middle; }
    return x - points[low][0] < points[high][0] - x ? low : high;
  };
  const show = () => {
    const x = main.points[at][0];
    marks.replaceChildren(svg("line", { class: "hair", x1: px(x), x2: px(x), y1: top, y2: bottom }));
    const lines = [`${data.axis} ${number(x)}`];
    for (const curve of data.curves) {
      if (!curve.points.length) continue;
      const [cx, cy] = curve.points[nearest(curve.points, x)];
      marks.append(svg("circle", { class: "dot", cx: px(cx), cy: py(cy), r: 4, fill: curve.colour }));
      lines.push(`${curve.name} ${number(cy)}${cx === x ? "" : ` at ${number(cx)}`}`);
    }
    return lines.join("\n");
  };
  const clear = () => { marks.replaceChildren(); hush(); };
  root.addEventListener("mousemove", event => {
    const box = root.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * root.viewBox.baseVal.width;
    at = nearest(main.points, data.x.start + (x - left) / (right - left) * (data.x.end - data.x.start));
    say(show(), event.clientX, event.clientY);
  });
  root.addEventListener("mouseleave", clear);
  root.addEventListener("blur", clear);
  root.addEventListener("keydown", event => {
    const move = direction(event);
    if (!move) return;
    at = clamp(at + move[0] * Math.max(1, Math.round(main.points.length / 200)), 0, main.points.length - 1);
    const text = show(), box = root.getBoundingClientRect(), size = box.width / root.viewBox.baseVal.width;
    say(text, box.left + px(main.points[at][0]) * size, box.top + top * size);
  });
}
