// The page: a section for each question, and in it a cell for each run.
const sections = [
  ["overview", "The run", "", run => [el("div", { class: "card" }, el("div", { class: "name" }, run.name),
    facts(run), diagnosis(run))]],
  ["loss", "Loss", "", run => run.loss && [plot(run.loss, "loss over steps", `${run.name} loss`)]],
  ["errors", "Errors on held-out examples", "", run => run.dev && [plot(run.dev, "errors over epochs", `${run.name} errors`)]],
  ["nodes", "Errors of nodes", "How wrong each node of a watched example is, begin and end included; where a long error fell at once it broke down.",
    run => run.nodes.length && nodeMaps(run)],
  ["energy", "Gradient energy, layer by step", "A row for each boundary between two layers, the one next to the loss on top; a column for each step.",
    (run, all) => run.energy && energyMap(run, all.span)],
  ["ledger", "Where the energy goes", "The ledger of each boundary, a mean over the last quarter of the steps. All that arrives at a boundary has one width; × is what a layer makes of the energy a row.",
    run => run.ledger.length && [ledger(run)]],
  ["gates", "Gates", "Learned transparency of boundaries, and learned shares of light guides.", run => run.gates && [plot(run.gates, "gates over steps", `${run.name} gates`)]],
  ["rays", "Rays of an example", "The strongest paths of the gradient, from the loss through the merges to the graphemes.", run => run.examples.length && examples(run)],
  ["parameters", "Parameters", "", run => run.norms.length && norms(run)],
];

// Under what words the page stands, by kind of its runs.
const heads = {
  text: ["Where gradients go", "Light runs from the loss, at the top, down to the graphemes. Its energy is the squared norm of the gradient. Point at anything for its numbers, or reach it with Tab and move with the arrow keys.", sections],
  spectral: ["What comes next, and what was wrong", "A predictor of wave fields on frames that it never saw. Point at anything for its numbers, or reach it with Tab and move with the arrow keys.", spectralSections],
};

function diagnosis(run) {
  const line = (text, kind) => {
    const [head, ...rest] = text.split(": ");
    return el("li", { class: kind }, el("strong", {}, head), rest.length ? `: ${rest.join(": ")}` : "");
  };
  const lines = run.complaints.map(text => line(text, "bad"));
  if (!run.watched) lines.push(line("No telemetry: train with --optics FILE; a file that holds {} changes nothing and only watches.", "note"));
  else if (!lines.length) lines.push(line("Healthy: nothing to complain of.", "good"));
  return el("ul", { class: "words", "aria-label": "diagnosis" }, ...lines);
}

function show({ kind, runs }) {
  const [title, words, sections] = heads[kind];
  document.querySelector("h1").textContent = title;
  document.querySelector("header p").textContent = words;
  const all = { span: spans(runs) }, page = document.getElementById("page"), focus = document.activeElement?.dataset?.key;
  const made = [];
  for (const [id, title, words, draw] of sections) {
    // A run that has nothing of it keeps its place, so that each run stays in its column.
    const cells = runs.map(run => [run, draw(run, all) || []]);
    if (cells.every(([, parts]) => !parts.length)) continue;
    made.push(el("section", { id }, el("h2", {}, title), ...(words ? [el("p", {}, words)] : []),
      el("div", { class: "cells" }, ...cells.map(([run, parts]) =>
        el("div", { class: "cell" }, ...(runs.length > 1 && id !== "overview" ? [el("h3", {}, run.name)] : []),
          ...(parts.length ? parts : [el("p", {}, "Nothing of this in this run.")]))))));
  }
  hush();
  page.replaceChildren(...made);
  document.body.classList.toggle("several", runs.length > 1);
  document.querySelector("nav").replaceChildren(...made.map(section => el("a", { href: `#${section.id}` }, section.querySelector("h2").textContent)));
  document.title = runs.map(run => run.name).join(" and ");
  if (focus) document.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
}

let told = document.getElementById("data").textContent;
show(JSON.parse(told));
document.documentElement.dataset.ready = "yes";

// A page that is served looks for news; one on a disk has none.
const seconds = Number(document.body.dataset.live);
if (seconds) {
  setInterval(async () => {
    try {
      const text = await (await fetch("data.json")).text();
      if (text !== told) { show(JSON.parse(text)); told = text; }
      delete document.documentElement.dataset.lost;
    } catch { document.documentElement.dataset.lost = "yes"; }
  }, 1000 * seconds);
}
