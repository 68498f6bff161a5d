// The words of one sentence and how they attend to each other, by pointer and keyboard. Texts enter the page as text only,
// never as HTML. A page that uses it has elements for the SIDES, and defines:
//   data: {attention, gold}, whether there are such; NAMES: what the two translations are called;
//   remark(word): what else is to be told of a word.
const SIDES = ["src", "hypothesis", "reference"];
const OTHER = { hypothesis: "reference", reference: "hypothesis" };
const END = "⟨end⟩";
const HINT = "Point at a word, or move to it with Tab and the arrow keys, to see its attention; a source word shows which words "
  + "attend to it.";
const MIN_SHARE = 0.05; // a smaller share is neither highlighted nor named in the sentence
const at = (id) => document.getElementById(id);

let sentence = null; // {src: [word, ...], hypothesis: {words, weights, links}, reference: likewise, or null}
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

const translations = () => ["hypothesis", "reference"].filter((side) => sentence[side]);
const wordsOf = (side) => (side === "src" ? sentence.src : sentence[side]?.words ?? []);
const percent = (share) => `${Math.round(100 * share)} %`;
const minus = (number, digits) => (number === null ? "none" : number.toFixed(digits).replace("-", "−"));

/** How much each word of each side lights up for the word i of `side`: {src: [...], hypothesis: [...], ...}. */
function related({ side, i }) {
  const found = {};
  if (!data.attention) return found;
  if (side === "src") {
    for (const each of translations()) found[each] = weights(each).map((row) => row[i]);
    return found;
  }
  const row = weights(side)[i], ends = row.length - 1;
  found.src = row;
  if (!sentence[OTHER[side]]) return found;
  // Two translations' words belong together as far as they attend to the same source words; the end is none.
  found[OTHER[side]] = weights(OTHER[side]).map((other) =>
    other.reduce((sum, weight, j) => (j < ends ? sum + weight * row[j] : sum), 0));
  return found;
}

/** Which words of each side are linked to the word: {src: Set, ...}; `gold` likewise, with "sure" or "possible". */
function linked({ side, i }) {
  const links = { src: new Set(), hypothesis: new Set(), reference: new Set() };
  const gold = { src: new Map(), reference: new Map() };
  for (const each of translations()) {
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

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Shows the words of the sentence, and its matrix. */
function drawWords() {
  for (const side of SIDES) {
    const apart = new Set(side === "src" ? [] : sentence[side]?.apart);
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
      const share = shares[side]?.[i] ?? 0, lit = share >= MIN_SHARE;
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
    at("readout").textContent = active ? tell(active, shares) : HINT;
    mark(active);
  }
}

function strongest(side, shares) {
  const words = side === "src" ? [...sentence.src, END] : wordsOf(side);
  const best = shares.map((share, i) => [share, i]).filter(([share]) => share >= MIN_SHARE).sort((a, b) => b[0] - a[0]);
  return best.slice(0, 5).map(([share, i]) => `${words[i]} ${percent(share)}`).join(", ") || "nothing in particular";
}

function tell(active, shares) {
  const { side, i } = active;
  if (side === "src") {
    const word = i < sentence.src.length ? `“${sentence.src[i]}”` : "The end of the sentence";
    const by = translations().map((each) => `${NAMES[each]}: ${strongest(each, shares[each])}`).join("; ");
    return `${word} is attended to by, in the ${by}.` + remark(active);
  }
  return `“${wordsOf(side)[i]}” attends to ${strongest("src", shares.src)}.` + remark(active);
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
  return { side: next, i: shares[best] >= MIN_SHARE ? best : Math.min(i, length - 1) };
}

/** Follows the pointer and the keyboard. */
function watch() {
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
  if (data.attention) {
    for (const choice of document.querySelectorAll('input[name="matrix"]')) {
      choice.addEventListener("change", () => { drawMatrix(); mark(hovered ?? focused); });
    }
    addEventListener("resize", () => { drawMatrix(); mark(hovered ?? focused); });
    at("matrix").addEventListener("mousemove", (event) => hover(pointed(event)));
    at("matrix").addEventListener("mouseleave", () => hover(null));
  }
}
