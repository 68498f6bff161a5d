"use strict";
// The alignment view of the report: the list of sentences, and the one that is chosen.
const data = JSON.parse(document.getElementById("data").textContent);
const NAMES = { hypothesis: "hypothesis", reference: "reference" };

let order = []; // the sentences, sorted

/** The gold links of a word. */
function remark(active) {
  const of = { src: "reference", reference: "src" }[active.side];
  if (!data.gold || !of || (active.side === "src" && active.i >= sentence.src.length)) return "";
  const words = [...linked(active).gold[of].keys()].sort((a, b) => a - b).map((k) => wordsOf(of)[k]);
  return ` Gold: ${words.join(" ") || "no word"}.`;
}

// ---- the list of sentences

const MEASURES = {
  number: (each) => each.number,
  chrf: (each) => each.chrf,
  score: (each) => each.hypothesis.score,
  length: (each) => -each.src.length,
  disagreement: (each) => -each.disagreement,
  aer: (each) => -each.aer,
};
const BADGES = {
  number: (each) => each.chrf.toFixed(0),
  chrf: (each) => each.chrf.toFixed(0),
  score: (each) => minus(each.hypothesis.score, 2),
  length: (each) => `${each.src.length}`,
  disagreement: (each) => (100 * each.disagreement).toFixed(0),
  aer: (each) => percent(each.aer),
};

function sort() {
  const by = at("order").value, turned = at("turn").getAttribute("aria-pressed") === "true";
  const measure = MEASURES[by];
  order = [...data.sentences].sort((a, b) => measure(a) - measure(b) || a.number - b.number);
  if (turned) order.reverse();
  at("list").replaceChildren(...order.map((each, place) => element(
    "div", { role: "option", "aria-selected": "false", tabindex: "-1", "data-place": place },
    element("span", {}, `${each.number + 1}`),
    element("span", { dir: "auto" }, each.src.join(" ") || "(empty)"),
    element("span", {}, BADGES[by](each)))));
  if (order.length) choose(0);
}

function choose(place, focus = false) {
  const list = at("list");
  for (const old of list.querySelectorAll('[aria-selected="true"]')) {
    old.setAttribute("aria-selected", "false");
    old.tabIndex = -1;
  }
  const option = list.children[place];
  option.setAttribute("aria-selected", "true");
  option.tabIndex = 0;
  if (focus) option.focus({ preventScroll: true });
  // Not scrollIntoView, which would also scroll the page.
  if (option.offsetTop < list.scrollTop) list.scrollTop = option.offsetTop;
  const below = option.offsetTop + option.offsetHeight - list.clientHeight;
  if (below > list.scrollTop) list.scrollTop = below;
  sentence = order[place];
  focused = hovered = null;
  draw();
}

// ---- the sentence

function draw() {
  at("heading").textContent = `Sentence ${sentence.number + 1}`;
  const parts = [["chrF", sentence.chrf.toFixed(1)], ["score", minus(sentence.hypothesis.score, 2)],
    ["reference's score", minus(sentence.reference.score, 2)]];
  if (data.attention) parts.push(["disagreement", (100 * sentence.disagreement).toFixed(0)]);
  if (data.gold) parts.push(["alignment error", percent(sentence.aer)]);
  at("measures").replaceChildren(...parts.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  drawWords();
}

at("list").addEventListener("click", (event) => {
  const option = event.target.closest('[role="option"]');
  if (option) choose(Number(option.dataset.place), true);
});
at("list").addEventListener("keydown", (event) => {
  const place = Number(event.target.dataset.place), last = order.length - 1;
  const next = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + 10, PageUp: place - 10, Home: 0, End: last }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  choose(Math.max(0, Math.min(last, next)), true);
});
at("order").addEventListener("change", sort);
at("turn").addEventListener("click", () => {
  at("turn").setAttribute("aria-pressed", `${at("turn").getAttribute("aria-pressed") !== "true"}`);
  sort();
});
watch();
if (data.sentences.length) {
  at("view").hidden = false;
  sort();
}
