// What a person does with the page, done to it by the browser's test, with probe_tools.js before it.
const leave = node => node.dispatchEvent(new MouseEvent("mouseleave"));

check("an overflow to the right", document.documentElement.scrollWidth <= innerWidth);
for (const id of ["overview", "loss", "errors", "energy", "ledger", "gates", "rays", "parameters"]) check(`section ${id}`, document.getElementById(id));
check("two runs side by side", all("#loss .cell").length === 2 && all("#overview .name").length === 2);

for (const [id, words] of [["loss", ["step", "loss"]], ["errors", ["epoch", "word error rate"]], ["gates", ["step", "boundary 0"]]]) {
  const drawn = all(`#${id} svg`).filter(svg => svg.getBoundingClientRect().width > 0);
  check(`${id}: one drawing for this width a run`, drawn.length === all(`#${id} .plot`).length);
  point(drawn[0]);
  check(`${id}: pointing tells numbers`, tells(...words) && drawn[0].querySelector(".hair"));
  press(drawn[0], "End");
  const last = tip.textContent;
  press(drawn[0], "ArrowLeft");
  check(`${id}: keys move`, tells(...words) && tip.textContent !== last);
  leave(drawn[0]);
  check(`${id}: leaving is silent`, tip.style.display === "none");
}

const map = document.querySelector("#energy canvas");
point(map, .01, .99);
check("the map tells the first boundary and step", tells("step 1,", "boundary 0", "energy a row", "gate"));
press(map, "End"); press(map, "ArrowUp");
check("keys move on the map", tells("step 20,", "boundary 1"));
const pixels = map.getContext("2d").getImageData(0, 0, map.width, map.height).data;
check("the map is not one colour", new Set([...pixels].map((_, i) => i % 4 ? 0 : pixels[i] * 65536 + pixels[i + 1] * 256 + pixels[i + 2])).size > 10);
const figures = document.querySelector("#energy select");
figures.value = [...figures.options].findIndex(option => option.text === "diffused");
figures.dispatchEvent(new Event("change"));
check("another figure is mapped", document.querySelector("#energy .legend").textContent.includes("diffused"));

const flow = document.querySelector("#ledger svg");
press(flow, "ArrowDown"); press(flow, "ArrowDown");
check("the ledger tells a boundary", tells("boundary 3", "energy in", "diffused"));
check("the ledger's words", flow.textContent.includes("absorbed") && flow.textContent.includes("stages.0.rounds.0"));

const choice = document.querySelector("#rays select"), rays = () => document.querySelector("#rays svg.rays");
check("the example that was asked for is first", choice.options[0].text.startsWith(choice.dataset.key && document.body.dataset.asked));
press(rays(), "ArrowLeft");
check("rays tell a node and light its rays", tells("rays, energy") && rays().classList.contains("some"));
point(rays().querySelector("g path"));
const drawn = rays().outerHTML;
choice.value = 1;
choice.dispatchEvent(new Event("change"));
const merged = document.querySelector("#rays details ul");
check("merges in words", merged && merged.children.length > 0 && merged.textContent.includes("was made of"));

const rows = () => all("#parameters .cell:first-child tbody tr").map(row => [...row.children].map(cell => cell.textContent));
const whole = rows().length, search = document.querySelector("#parameters input");
search.value = "GATE"; search.dispatchEvent(new Event("input"));
check("search", rows().length > 0 && rows().length < whole && rows().every(row => row[0].includes("gate")));
search.value = ""; search.dispatchEvent(new Event("input"));
document.querySelectorAll("#parameters th button")[2].click();
const sorted = rows().map(row => Number(row[2]));
check("sorted by norm, the largest first", sorted.length === whole && sorted.every((x, i) => i === 0 || sorted[i - 1] >= x));

check("everything with numbers can be reached by keyboard", all("main svg, main canvas").every(node => node.tabIndex === 0 && node.getAttribute("aria-label")));
setTimeout(() => {
  check("another example is drawn", rays() && rays().outerHTML !== drawn);
  report();
}, 200);
