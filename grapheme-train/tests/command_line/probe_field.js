// What a person does with the page of a predictor of wave fields, done to it by the browser's test, with probe_tools.js before it.
const pixels = i => all(".panels canvas")[i].toDataURL();

check("an overflow to the right", document.documentElement.scrollWidth <= innerWidth);
for (const id of ["overview", "player", "loss", "figures"]) check(`section ${id}`, document.getElementById(id));
check("four panels", all(".panels canvas").length === 4 && new Set([0, 1, 2, 3].map(pixels)).size > 2);

const slider = document.querySelector(".player input[type=range]"), words = document.querySelector(".player output");
check("it begins with the first frame that is scored", words.textContent.startsWith("frame 16: mean squared error"));
const before = [0, 1, 2].map(pixels), spectrum = document.querySelector(".player [aria-label^=energy] .spectrum").getAttribute("d");
slider.value = 9; slider.dispatchEvent(new Event("input"));
check("the slider moves in time", words.textContent.startsWith("frame 25") && [0, 1].every(i => pixels(i) !== before[i]));
check("spectra follow", document.querySelector(".player [aria-label^=energy] .spectrum").getAttribute("d") !== spectrum);

const boxes = all(".switches input"), whole = pixels(0);
check("three bands and three layers", boxes.length === 6);
boxes[1].click();
check("a band can be switched off", pixels(0) !== whole);
boxes[1].click();
check("and on again", pixels(0) === whole);
check("isolines", document.querySelector(".front"));
boxes[3].click();
check("no isolines", !document.querySelector(".front"));
boxes[3].click();
check("wormholes", document.querySelector(".link"));
boxes[4].click();
check("no wormholes", !document.querySelector(".link"));
boxes[4].click();

const panel = document.querySelector(".panels svg");
point(panel, .01, .99);
check("a cell tells its numbers", tells("row 11, column 0", "expected", "stored"));
press(panel, "ArrowRight"); press(panel, "ArrowUp");
check("keys move over cells", tells("row 10, column 1"));

const timeline = document.querySelector(".player [aria-label^=errors]");
check("the timeline fits its window", timeline.getBoundingClientRect().width > 200);
point(timeline, .5, .5);
check("the timeline tells a frame", tells("frame", "error", "stored"));
press(timeline, "ArrowRight");
check("keys move in time", words.textContent.startsWith("frame 26"));
const spectra = () => document.querySelector(".player [aria-label^=energy]");
press(spectra(), "ArrowRight");
check("a spectrum tells its numbers", tells("1 cycles", "came", "error"));
check("breakdowns on the timeline", timeline.querySelector(".broken"));

check("everything with numbers can be reached by keyboard", all("main svg").every(node => node.tabIndex === 0 && node.getAttribute("aria-label")));
document.querySelector(".player button").click();
setTimeout(() => {
  check("it plays", !words.textContent.startsWith("frame 26:"));
  press(timeline, " ");
  const stopped = words.textContent;
  setTimeout(() => {
    check("the space bar stops it", words.textContent === stopped && document.querySelector(".player button").textContent === "Play");
    report();
  }, 300);
}, 450);
