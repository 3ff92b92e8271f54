// All parameters, to be sorted by any column and searched by name.
function norms(run) {
  const key = `${run.name} norms`, state = chosen.get(key) || { by: 0, way: 1, search: "" };
  chosen.set(key, state);
  const search = el("input", { type: "search", placeholder: "part of a name", "aria-label": "search parameters", "data-key": `${key} search` });
  search.value = state.search;
  const body = el("tbody", {}), count = el("span", { class: "legend" });
  const most = Math.max(...run.norms.map(row => row[3]), 1e-300);
  const titles = ["parameter", "numbers", "norm", "root mean square"];
  const heads = titles.map((title, i) => {
    const button = el("button", { type: "button", "data-key": `${key} ${i}` }, title);
    button.addEventListener("click", () => {
      // Numbers begin with the largest.
      Object.assign(state, { by: i, way: state.by === i ? -state.way : i === 0 ? 1 : -1 });
      fill();
    });
    return el("th", { scope: "col" }, button);
  });
  const fill = () => {
    const rows = run.norms.filter(row => row[0].toLowerCase().includes(state.search.toLowerCase()));
    rows.sort((a, b) => (a[state.by] < b[state.by] ? -1 : a[state.by] > b[state.by] ? 1 : 0) * state.way);
    body.replaceChildren(...rows.map(([name, numbers, norm, rms]) => el("tr", {}, el("td", {}, name.replaceAll(".", ".\u200b")), el("td", {}, String(numbers)),
      el("td", {}, number(norm)), el("td", {}, number(rms)),
      el("td", {}, el("span", { class: "meter", style: `width:${(100 * rms / most).toFixed(1)}%` })))));
    heads.forEach((head, i) => {
      if (i === state.by) head.setAttribute("aria-sort", state.way > 0 ? "ascending" : "descending"); else head.removeAttribute("aria-sort");
    });
    count.textContent = `${rows.length} of ${run.norms.length}`;
  };
  search.addEventListener("input", () => { state.search = search.value; fill(); });
  fill();
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...heads, el("th", { "aria-hidden": "true" }))), body);
  return [el("div", { class: "bar" }, search, count), el("div", { class: "card table", tabindex: 0, role: "region", "aria-label": "parameters" }, table)];
}
