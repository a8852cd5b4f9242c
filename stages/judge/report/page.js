"use strict";
// Filters and sorts the table of all answers. Without this script the table is there, the worst answers first.
(() => {
  const body = document.querySelector("#rows tbody");
  const form = document.getElementById("controls");
  if (!body || !form) return;
  const field = (name) => document.getElementById(name);
  const rows = [...body.rows].map((row) => ({
    row,
    text: row.textContent.toLowerCase(),
    category: row.dataset.c,
    verdict: row.dataset.v,
    place: Number(row.dataset.n),
    before: row.dataset.b === undefined ? null : Number(row.dataset.b),
    score: row.dataset.s === undefined ? null : Number(row.dataset.s),
  }));
  rows.forEach((one, place) => { one.worst = place; });
  const gained = (one) => one.score === null || one.before === null ? null : one.score - one.before;
  // A row without the figure stands last in every order.
  const by = (figure) => (a, b) => {
    const [x, y] = [figure(a), figure(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a.worst - b.worst;
    return x - y || a.worst - b.worst;
  };
  const negative = (figure) => (one) => figure(one) === null ? null : -figure(one);
  const orders = {
    worst: (a, b) => a.worst - b.worst,
    best: by((one) => one.score === null ? null : -one.worst),
    gained: by(negative(gained)),
    lost: by(gained),
    file: (a, b) => a.place - b.place,
  };
  for (const key of ["category", "verdict"]) {
    const names = [...new Set(rows.map((one) => one[key]))].sort();
    field(key).append(...names.map((name) => new Option(name, name)));
  }
  const show = () => {
    const words = field("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [category, verdict] = [field("category").value, field("verdict").value];
    let shown = 0;
    for (const one of rows) {
      const fits = (!category || one.category === category) && (!verdict || one.verdict === verdict)
        && words.every((word) => one.text.includes(word));
      one.row.hidden = !fits;
      shown += fits;
    }
    field("count").textContent = `${shown} of ${rows.length} rows`;
  };
  const sort = () => { body.append(...[...rows].sort(orders[field("order").value]).map((one) => one.row)); };
  form.addEventListener("input", show);
  form.addEventListener("change", show);
  field("order").addEventListener("change", sort);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
})();
// Where the page is shown within another one, as in MLflow, the browser does not follow its links to itself.
for (const link of document.querySelectorAll("nav a")) {
  link.addEventListener("click", () => document.querySelector(link.hash)?.scrollIntoView());
}
