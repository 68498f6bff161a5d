// The matrix beside the words: the weights of each word of the hypothesis, or of the reference.

const svg = (name, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
const short = (word) => ([...word].length > 14 ? `${[...word].slice(0, 13).join("")}…` : word);
let grid = null; // {side, cell, left, top, rows, columns} of the matrix that is drawn

/** The matrix follows the word: that of the side on which a word was pointed at last. */
function showMatrix(side) {
  if (grid?.side === side) return;
  document.querySelector(`input[name="matrix"][value="${side}"]`).checked = true;
  drawMatrix();
}

function drawMatrix() {
  if (!data.attention || !sentence) return;
  const side = document.querySelector('input[name="matrix"]:checked').value;
  const rows = wordsOf(side), columns = [...sentence.src, END], values = weights(side);
  const widest = (words) => Math.max(0, ...words.map((word) => short(word).length));
  const room = at("matrix").clientWidth - 16 - 7 * widest(rows);
  const cell = Math.max(9, Math.min(22, Math.floor(room / columns.length), Math.floor(420 / Math.max(1, rows.length))));
  const font = Math.min(12, cell);
  // Slanted labels read best, but need room beside each other.
  const slanted = cell >= 16, angle = slanted ? -60 : -90;
  const left = 12 + widest(rows) * font * 0.58, top = 10 + widest(columns) * font * (slanted ? 0.54 : 0.6);
  const width = left + columns.length * cell + (slanted ? widest(columns.slice(-1)) * font * 0.35 + 6 : 2);
  const height = top + rows.length * cell + 2;
  grid = { side, cell, left, top, rows: rows.length, columns: columns.length };
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "font-size": font,
    "aria-label": `Attention of the ${NAMES[side]}'s words (rows) over the source words (columns)` });
  const x = (j) => left + j * cell, y = (t) => top + t * cell;
  picture.append(svg("rect", { class: "ground", x: left, y: top, width: columns.length * cell, height: rows.length * cell }));
  columns.forEach((word, j) => picture.append(svg("text", { "data-column": j,
    transform: `translate(${x(j) + cell / 2 + font / 3} ${top - 5}) rotate(${angle})` }, short(word))));
  rows.forEach((word, t) => picture.append(svg("text", { "data-row": t, x: left - 6, y: y(t) + cell / 2 + font / 3,
    "text-anchor": "end" }, short(word))));
  values.forEach((row, t) => row.forEach((weight, j) => {
    if (weight >= 0.01) picture.append(svg("rect", { class: "cell", x: x(j), y: y(t), width: cell, height: cell,
      "fill-opacity": weight.toFixed(3) }));
  }));
  if (side === "reference") {
    for (const kind of ["sure", "possible"]) {
      for (const [j, t] of sentence[kind] ?? []) picture.append(svg("rect", { class: `gold ${kind}`, x: x(j) + 1.5,
        y: y(t) + 1.5, width: cell - 3, height: cell - 3 }));
    }
  }
  for (const [j, t] of sentence[side].links) picture.append(svg("circle", { class: "link", cx: x(j) + cell / 2,
    cy: y(t) + cell / 2, r: Math.max(2, cell / 8) }));
  picture.append(svg("rect", { class: "band", id: "row-band", visibility: "hidden", x: left, width: columns.length * cell, height: cell }));
  picture.append(svg("rect", { class: "band", id: "column-band", visibility: "hidden", y: top, width: cell, height: rows.length * cell }));
  at("matrix").replaceChildren(picture);
}

/** Frames the row or the column of the active word. */
function mark(active) {
  if (!grid) return;
  const row = active?.side === grid.side ? active.i : -1, column = active?.side === "src" ? active.i : -1;
  at("row-band").setAttribute("visibility", row < 0 ? "hidden" : "visible");
  at("row-band").setAttribute("y", grid.top + row * grid.cell);
  at("column-band").setAttribute("visibility", column < 0 ? "hidden" : "visible");
  at("column-band").setAttribute("x", grid.left + column * grid.cell);
  for (const text of at("matrix").querySelectorAll("text")) {
    text.classList.toggle("active", text.dataset.row === `${row}` || text.dataset.column === `${column}`);
  }
}

/** The word that a place in the matrix belongs to: a row's, or above the grid a column's. */
function pointed(event) {
  if (!grid) return null;
  const box = at("matrix").firstChild.getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left - grid.left) / grid.cell);
  const row = Math.floor((event.clientY - box.top - grid.top) / grid.cell);
  if (row >= 0 && row < grid.rows) return { side: grid.side, i: row };
  return row < 0 && column >= 0 && column < grid.columns ? { side: "src", i: column } : null;
}
