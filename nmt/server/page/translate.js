"use strict";
// The page of the server: translates while one types, and shows the words of a sentence with attention.js.
const data = { attention: true, gold: false };
const NAMES = { hypothesis: "translation", reference: "comparison" };
const PAUSE = 300; // milliseconds without a key before a text is translated
const ALTERNATIVES = 4;
const LARGE_CHANGE = 0.1; // of a probability
const UNSURE = 0.5; // the confidence below which a word is marked: it is rather wrong than right

let sentences = []; // as the server describes them
let shown = null; // the one whose words are shown
let masked = new Set(); // the source words that are left out
let timer = 0;
const running = {}; // an AbortController for each kind of request: a new one ends the last

// ---- the server

/** The answer to a request; null where a newer one of its kind took its place. Throws Error with the server's words. */
async function ask(kind, path, fields) {
  running[kind]?.abort();
  const control = running[kind] = new AbortController();
  const [source, target] = at("pair").value.split(" ");
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, signal: control.signal,
    body: JSON.stringify({ source, target, ...fields }) };
  try {
    const response = await fetch(path, options);
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer;
  } catch (error) {
    if (control.signal.aborted) return null;
    throw error instanceof TypeError ? new Error("The server does not answer.") : error;
  }
}

function say(text, isError = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", isError);
}

/** Does something that asks the server, and says what went wrong. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    say(error.message, true);
  }
}

async function translate() {
  const q = at("text").value;
  at("translation").classList.add("stale");
  if (!q.trim()) running.text?.abort();
  const answer = q.trim() ? await ask("text", "translate", { q, attention: true, confidence: true })
    : { translatedText: "", attention: [], confidence: [] };
  if (!answer) return;
  say("");
  at("translation").classList.remove("stale");
  at("translation").textContent = answer.translatedText;
  const place = Math.max(0, Math.min(at("sentences").selectedIndex, answer.attention.length - 1));
  sentences = answer.attention.map((each, k) => ({ ...each, confidence: answer.confidence[k] }));
  at("sentences").replaceChildren(...sentences.map((each, k) => element("option", { value: k }, `${k + 1}. ${each.source}`)));
  at("sentences-row").hidden = sentences.length < 2;
  at("view").hidden = !sentences.length;
  if (sentences.length) await choose(place);
}

// ---- the words of one sentence

/** A side of the view from parts that the server describes, whose source words are `columns` of the sentence's. */
function sideOf(parts, columns) {
  const side = { words: [], matrix: [], links: [], probabilities: [] };
  let first = 0;
  for (const part of parts) {
    const here = columns.slice(first, first + part.sourceWords.length), rows = side.words.length;
    part.targetWords.forEach((word, t) => {
      const row = Array(sentence.src.length + 1).fill(0);
      here.forEach((column, j) => { row[column] = part.weights?.[t][j] ?? 0; });
      row[sentence.src.length] = part.endWeights?.[t] ?? 0;
      side.words.push(word);
      side.matrix.push(row);
    });
    side.links.push(...part.links.map(([j, t]) => [here[j], rows + t]));
    side.probabilities.push(...part.logProbs.map(probability));
    first += part.sourceWords.length;
  }
  return side;
}

const probability = (log) => (log === null ? null : Math.exp(log));

async function choose(place) {
  for (const kind of ["alternatives", "comparison"]) running[kind]?.abort();
  shown = sentences[place];
  at("sentences").selectedIndex = place;
  masked = new Set();
  sentence = { src: shown.sourceWords, hypothesis: null, reference: null };
  sentence.hypothesis = sideOf([shown], [...shown.sourceWords.keys()]);
  data.attention = shown.weights !== null;
  at("matrix-column").hidden = !data.attention;
  compare(null);
  at("others").hidden = true;
  const answer = await ask("alternatives", "translate", { q: shown.source, alternatives: ALTERNATIVES });
  if (!answer?.alternatives?.length) return;
  at("alternatives").replaceChildren(...answer.alternatives.map((text) =>
    element("button", { type: "button", "aria-pressed": "false", dir: "auto" }, text)));
  at("others").hidden = false;
}

/** Shows another translation beside the sentence's: {name, side}, or none. */
function compare(other) {
  sentence.reference = other?.side ?? null;
  at("reference-name").textContent = other?.name ?? "";
  for (const id of ["reference-line", "reference-choice", "key-same", "key-apart"]) at(id).hidden = !other;
  if (!other) document.querySelector('input[name="matrix"][value="hypothesis"]').checked = true;
  for (const side of translations()) {
    const others = new Set(sentence[OTHER[side]]?.words ?? sentence[side].words);
    sentence[side].apart = sentence[side].words.map((word, t) => (others.has(word) ? -1 : t)).filter((t) => t >= 0);
  }
  at("changes").hidden = true;
  for (const button of at("alternatives").children) {
    button.setAttribute("aria-pressed", `${other?.name === "Other translation" && button.textContent === other.text}`);
  }
  focused = hovered = null;
  drawWords();
  markConfidence();
  [...at("src").children].forEach((span, i) => span.classList.toggle("masked", masked.has(i)));
}

async function showAlternative(text) {
  masked = new Set();
  const of = shown;
  const answer = await ask("comparison", "align", { pairs: [[of.source, text]] });
  if (!answer || of !== shown) return;
  compare({ name: "Other translation", text, side: sideOf(answer.pairs, [...of.sourceWords.keys()]) });
}

/** Leaves the source word i out, or takes it in again, and shows what changes. */
async function toggle(i) {
  if (i >= sentence.src.length) return;
  if (!masked.delete(i)) masked.add(i);
  if (!masked.size || masked.size === sentence.src.length) {
    running.comparison?.abort();
    masked = new Set();
    compare(null);
    at("src").children[i].focus();
    return;
  }
  const columns = [...sentence.src.keys()].filter((k) => !masked.has(k));
  const q = columns.map((k) => sentence.src[k]).join(" ");
  const left = [...masked].sort((a, b) => a - b).map((k) => `“${sentence.src[k]}”`).join(", ");
  const of = shown;
  const answer = await ask("comparison", "translate", { q, attention: true });
  const same = answer && await ask("comparison", "align", { pairs: [[q, shown.translation]] });
  if (!same || of !== shown) return;
  compare({ name: `Without ${left}`, side: sideOf(answer.attention, columns) });
  showChanges(left, sideOf(same.pairs, columns).probabilities);
  say(`Without ${left}: ${answer.translatedText}`);
  at("src").children[i].focus();
}

function showChanges(left, without) {
  const { words, probabilities } = sentence.hypothesis;
  at("changes-title").textContent = `Probability of each word of the translation, with and without ${left}`;
  at("changes-rows").replaceChildren(...words.map((word, t) => {
    const change = without[t] - probabilities[t];
    const row = element("tr", {}, element("th", { scope: "row", dir: "auto" }, word), element("td", {}, percent(probabilities[t])),
      element("td", {}, percent(without[t])), element("td", {}, `${change > 0 ? "+" : ""}${minus(100 * change, 0)}`));
    row.classList.toggle("large", Math.abs(change) >= LARGE_CHANGE);
    return row;
  }));
  at("changes").hidden = false;
}

// ---- confidence

const isOmitted = (i) => shown.confidence.omitted?.includes(i) ?? false;
const isUnsupported = (t) => shown.confidence.unsupported?.includes(t) ?? false;
const isUnsure = (t) => shown.confidence.words[t] !== null && shown.confidence.words[t] < UNSURE;

/** Marks the words of the sentence that are not sure or have no counterpart, and says the same in words. */
function markConfidence() {
  const { words, sentence: whole, calibrated } = shown.confidence;
  const named = (list, test) => list.flatMap((word, i) => (test(i) ? [`“${word}”`] : [])).join(", ");
  const mark = (side, test, name) => [...at(side).children].forEach((span, i) => span.classList.toggle(name, test(i)));
  mark("hypothesis", isUnsure, "unsure");
  mark("hypothesis", isUnsupported, "alone");
  mark("src", isOmitted, "alone");
  const unsure = shown.targetWords.flatMap((word, t) => (isUnsure(t) ? [`“${word}” ${percent(words[t])}`] : [])).join(", ");
  const omitted = named(shown.sourceWords, isOmitted), unsupported = named(shown.targetWords, isUnsupported);
  at("confidence").textContent = [
    whole === null ? "" : `Confidence ${percent(whole)}.`,
    unsure && `Unsure: ${unsure}.`,
    omitted && `Perhaps left out: ${omitted}.`,
    unsupported && `Perhaps made up: ${unsupported}.`,
  ].filter(Boolean).join(" ");
  at("key-unsure").hidden = !unsure;
  at("key-alone").hidden = !omitted && !unsupported;
  at("calibrated").hidden = calibrated;
}

/** The probability and the confidence of a target word, and whether a word has no counterpart. */
function remark({ side, i }) {
  if (side === "src") return isOmitted(i) ? " Perhaps it is left out." : "";
  const share = sentence[side].probabilities[i];
  const told = share === null ? "" : ` Its probability is ${percent(share)}.`;
  if (side === "reference") return told;
  const sure = shown.confidence.words[i];
  return told + (sure === null ? "" : ` Its confidence is ${percent(sure)}.`) + (isUnsupported(i) ? " Perhaps it is made up." : "");
}

// ---- what a person does

const wait = () => {
  clearTimeout(timer);
  timer = setTimeout(() => attempt(translate), PAUSE);
};

at("text").addEventListener("input", wait);
at("pair").addEventListener("change", () => {
  const [source, target] = at("pair").selectedOptions[0].textContent.split(" to ");
  at("src-language").textContent = source;
  at("tgt-language").textContent = target;
  at("text").lang = at("src").lang = at("pair").value.split(" ")[0];
  for (const id of ["translation", "hypothesis", "reference"]) at(id).lang = at("pair").value.split(" ")[1];
  attempt(translate);
});
at("sentences").addEventListener("change", () => attempt(() => choose(at("sentences").selectedIndex)));
at("alternatives").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.getAttribute("aria-pressed") === "true") compare(null);
  else attempt(() => showAlternative(button.textContent));
});
at("src").addEventListener("click", (event) => {
  const word = wordAt(event.target);
  if (word) attempt(() => toggle(word.i));
});
at("src").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  attempt(() => toggle(wordAt(event.target).i));
});

/** The English name of a language that nothing is translated from. */
function languageName(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    return code; // it is no code of a language
  }
}

// Not by the attribute autofocus: browsers apply that one later, when the focus may be elsewhere.
at("text").focus();
watch();
attempt(async () => {
  const languages = await (await fetch("languages")).json();
  const names = new Map(languages.map(({ code, name }) => [code, name]));
  at("pair").replaceChildren(...languages.flatMap(({ code, name, targets }) => targets.map((target) =>
    element("option", { value: `${code} ${target}` }, `${name} to ${names.get(target) ?? languageName(target)}`))));
  at("pair").dispatchEvent(new Event("change"));
});
