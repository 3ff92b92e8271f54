// What the probes of the page do and how they tell the frame around them what was not as it should be.
const wrong = [], tip = document.getElementById("tip");
const check = (what, holds) => { if (!holds) wrong.push(what); };
const all = selector => [...document.querySelectorAll(selector)];
const tells = (...words) => tip.style.display === "block" && words.every(word => tip.textContent.includes(word));
const press = (node, key) => { node.focus(); node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })); };
const point = (node, x = .5, y = .5) => {
  const box = node.getBoundingClientRect();
  node.dispatchEvent(new MouseEvent("mousemove", { clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true }));
};
const report = () => parent.postMessage(wrong.length ? `wrong: ${wrong.join("; ")}` : "all is as it should be", "*");
