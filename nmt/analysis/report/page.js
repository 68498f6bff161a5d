"use strict";
// The alignment view. Texts come from the JSON above and enter the page as text only, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const SIDES = ["src", "hypothesis", "reference"];
const OTHER = { hypothesis: "reference", reference: "hypothesis" };
const END = "⟨end⟩";
const HINT = "Point at a word, or move to it with Tab and the arrow keys, to see its attention; a source word shows which words "
  + "attend to it.";
const MIN_SENTENCES = 0.05; // a smaller share is neither highlighted nor named in the sentence
const at = (id) => document.getElementById(id);

let order = []; // the sentences, sorted
let sentence = null;
let focused = null; // {side, i}: the word that has the keyboard's focus
let hovered = null; // {side, i}: the word under the pointer, which goes first

// ---- data

/** weights[t][j] from 0 to 1; the last column is the end of sentence. */
function unpack(text, rows) {
  const bytes = atob(text), columns = rows ? bytes.length / rows : 0;
  return Array.from({ length: rows }, (_, t) =>
    Array.from({ length: columns }, (_, j) => bytes.charCodeAt(t * columns + j) / 255));
}

function weights(side) {
  const own = sentence[side];
  own.matrix ??= unpack(own.weights, own.words.length);
  return own.matrix;
}

const wordsOf = (side) => (side === "src" ? sentence.src : sentence[side].words);
const percent = (share) => `${Math.round(100 * share)} %`;
const minus = (number, digits) => (number === null ? "none" : number.toFixed(digits).replace("-", "−"));

/** How much each word of each side lights up for the word i of `side`: {src: [...], hypothesis: [...], ...}. */
function related({ side, i }) {
  const found = {};
  if (!data.attention) return found;
  if (side === "src") {
    for (const each of ["hypothesis", "reference"]) found[each] = weights(each).map((row) => row[i]);
    return found;
  }
  const row = weights(side)[i], ends = row.length - 1;
  found.src = row;
  // Two translations' words belong together as far as they attend to the same source words; the end is none.
  found[OTHER[side]] = weights(OTHER[side]).map((other) =>
    other.reduce((sum, weight, j) => (j < ends ? sum + weight * row[j] : sum), 0));
  return found;
}

/** Which words of each side are linked to the word: {src: Set, ...}; `gold` likewise, with "sure" or "possible". */
function linked({ side, i }) {
  const links = { src: new Set(), hypothesis: new Set(), reference: new Set() };
  const gold = { src: new Map(), reference: new Map() };
  for (const each of ["hypothesis", "reference"]) {
    for (const [j, t] of sentence[each].links) {
      if (side === "src" && j === i) links[each].add(t);
      if (side === each && t === i) links.src.add(j);
    }
  }
  for (const kind of ["possible", "sure"]) {
    for (const [j, t] of sentence[kind] ?? []) {
      if (side === "src" && j === i) gold.reference.set(t, kind);
      if (side === "reference" && t === i) gold.src.set(j, kind);
    }
  }
  return { links, gold };
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

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

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
  for (const side of SIDES) {
    const apart = new Set(side === "src" ? [] : sentence[side].apart);
    const spans = wordsOf(side).map((word, i) => {
      const span = element("span", { role: "option", "aria-selected": "false", tabindex: "-1", class: "word" }, word);
      span.classList.toggle("apart", apart.has(i));
      span.classList.toggle("long", word.length > 24);
      return span;
    });
    if (side === "src" && data.attention) {
      const end = { role: "option", "aria-selected": "false", tabindex: "-1", class: "word end" };
      spans.push(element("span", end, END));
    }
    if (spans.length) spans[0].tabIndex = 0;
    at(side).replaceChildren(...spans);
  }
  drawMatrix();
  light();
}

/** Lights up what belongs to the word under the pointer, or else to the one that has the focus. */
function light() {
  const active = hovered ?? focused;
  if (data.attention && active && active.side !== "src") showMatrix(active.side);
  const shares = active ? related(active) : {};
  const { links, gold } = active ? linked(active) : { links: {}, gold: {} };
  for (const side of SIDES) {
    [...at(side).children].forEach((span, i) => {
      const share = shares[side]?.[i] ?? 0, lit = share >= MIN_SENTENCES;
      const self = active?.side === side && active.i === i;
      span.style.setProperty("--weight", lit ? share.toFixed(3) : "0");
      if (lit) span.dataset.percent = Math.round(100 * share);
      else delete span.dataset.percent;
      span.classList.toggle("lit", lit);
      span.classList.toggle("same", lit && active.side !== "src" && side === OTHER[active.side]);
      span.classList.toggle("link", links[side]?.has(i) ?? false);
      span.classList.toggle("gold", gold[side]?.has(i) ?? false);
      span.classList.toggle("possible", gold[side]?.get(i) === "possible");
      span.classList.toggle("active", self);
      span.setAttribute("aria-selected", `${self}`);
    });
  }
  if (data.attention) {
    at("readout").textContent = active ? tell(active, shares, gold) : HINT;
    mark(active);
  }
}

function strongest(side, shares) {
  const words = side === "src" ? [...sentence.src, END] : wordsOf(side);
  const best = shares.map((share, i) => [share, i]).filter(([share]) => share >= MIN_SENTENCES).sort((a, b) => b[0] - a[0]);
  return best.slice(0, 5).map(([share, i]) => `${words[i]} ${percent(share)}`).join(", ") || "nothing in particular";
}

function tell({ side, i }, shares, gold) {
  const goldWords = (of) => {
    const words = [...(gold[of]?.keys() ?? [])].sort((a, b) => a - b).map((k) => wordsOf(of)[k]);
    return data.gold ? ` Gold: ${words.join(" ") || "no word"}.` : "";
  };
  if (side === "src") {
    const word = i < sentence.src.length ? `“${sentence.src[i]}”` : "The end of the sentence";
    const by = ["hypothesis", "reference"].map((each) => `${each}: ${strongest(each, shares[each])}`).join("; ");
    return `${word} is attended to by, in the ${by}.` + (i < sentence.src.length ? goldWords("reference") : "");
  }
  const text = `“${wordsOf(side)[i]}” attends to ${strongest("src", shares.src)}.`;
  return text + (side === "reference" ? goldWords("src") : "");
}

// ---- pointer and keyboard

function hover(word) {
  if (word?.side === hovered?.side && word?.i === hovered?.i) return;
  hovered = word;
  light();
}

function wordAt(target) {
  const span = target.closest?.(".word");
  return span ? { side: span.parentNode.id, i: [...span.parentNode.children].indexOf(span) } : null;
}

/** Where an arrow leads from a word: along its line, or to the word of the next line that belongs to it most. */
function step({ side, i }, key, rightToLeft) {
  const last = at(side).children.length - 1;
  const along = { ArrowRight: rightToLeft ? i - 1 : i + 1, ArrowLeft: rightToLeft ? i + 1 : i - 1, Home: 0, End: last };
  if (key in along) return { side, i: Math.max(0, Math.min(last, along[key])) };
  const place = SIDES.indexOf(side) + { ArrowUp: -1, ArrowDown: 1 }[key];
  const next = SIDES[place], length = next ? at(next).children.length : 0;
  if (!length) return { side, i };
  const shares = related({ side, i })[next] ?? [];
  const best = shares.indexOf(Math.max(...shares));
  return { side: next, i: shares[best] >= MIN_SENTENCES ? best : Math.min(i, length - 1) };
}

for (const side of SIDES) {
  const line = at(side);
  line.addEventListener("mouseover", (event) => hover(wordAt(event.target)));
  line.addEventListener("mouseleave", () => hover(null));
  line.addEventListener("focusin", (event) => {
    focused = wordAt(event.target);
    hovered = null; // the keyboard moved last, wherever the pointer rests
    for (const span of line.children) span.tabIndex = span === event.target ? 0 : -1;
    light();
  });
  line.addEventListener("focusout", () => { focused = null; light(); });
  line.addEventListener("click", (event) => event.target.closest(".word")?.focus());
  line.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return event.target.blur();
    if (!/^(Arrow(Left|Right|Up|Down)|Home|End)$/.test(event.key)) return;
    event.preventDefault();
    const next = step(wordAt(event.target), event.key, getComputedStyle(line).direction === "rtl");
    at(next.side).children[next.i].focus();
  });
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
if (data.attention) {
  for (const choice of document.querySelectorAll('input[name="matrix"]')) {
    choice.addEventListener("change", () => { drawMatrix(); mark(hovered ?? focused); });
  }
  addEventListener("resize", () => { drawMatrix(); mark(hovered ?? focused); });
  at("matrix").addEventListener("mousemove", (event) => hover(pointed(event)));
  at("matrix").addEventListener("mouseleave", () => hover(null));
}
if (data.sentences.length) {
  at("view").hidden = false;
  sort();
}
