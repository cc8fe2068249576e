"use strict";
// Text from results only ever becomes a text node or an attribute: nothing here writes HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function table(header, rows) {
  const cells = (tag, row) => row.map((text) => element(tag, tag === "th" ? { scope: "col" } : {}, text));
  const body = rows.map((row) => element("tr", {}, ...cells("td", row)));
  const made = element("table", { class: "plain" },
    element("thead", {}, element("tr", {}, ...cells("th", header))), element("tbody", {}, ...body));
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": header.join(", ") }, made);
}

const called = (arm) => `${arm.attack}, ${arm.defense}`;

// ---- metrics of the matrix
function showMetric(metric) {
  for (const part of $$(".matrix")) part.hidden = part.dataset.metric !== metric;
}

// ---- table of arms: sort and filter
function sortBy(header) {
  const rising = header.getAttribute("aria-sort") !== "ascending";
  for (const other of $$("#arms thead th[aria-sort]")) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const column = header.cellIndex;
  const value = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === ""); // what was not measured comes last
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return rising ? order : -order;
  };
  $("#arms tbody").append(...$$("#arms tbody tr").sort(compare));
}

function filterArms() {
  const words = $("#filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = $$("#arms tbody tr");
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const flagged = !$("#flagged").checked || row.dataset.flags !== "0";
    row.hidden = !(flagged && words.every((word) => text.includes(word)));
  }
  $("#count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} arms`;
}

// ---- gallery
function picture(id, alt, name = "") {
  return element("img", { src: data.images[id], alt, class: name, decoding: "async" });
}

function slider(shown) {
  const sides = ["original", "protected", "purified"].filter((side) => shown[side]);
  const [before, after] = sides.slice(-2);
  if (!before) return [];
  const frame = element("div", { class: after ? "compare" : "compare single" },
    picture(shown[before][0][0], before));
  if (!after) return [frame, element("p", { class: "sides" }, before)];
  const range = element("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `${before} (left), ${after} (right)` });
  const move = () => {
    frame.style.setProperty("--at", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % ${before}`);
  };
  range.addEventListener("input", move);
  frame.append(picture(shown[after][0][0], after, "after"), range);
  move();
  return [frame, element("p", { class: "sides" }, element("span", {}, before), element("span", {}, after))];
}

function card(arm, person) {
  const shown = arm.pictures[person];
  const generated = (shown.generated ?? []).map(([id, prompt]) => {
    const image = picture(id, `generated: ${prompt}`);
    image.title = prompt;
    return image;
  });
  const scores = Object.entries(arm.scores[person] ?? {}).map(([name, value]) => `${name} ${value}`);
  return element("article", { class: "card" },
    element("h3", {}, arm.defense),
    ...slider(shown), element("div", { class: "strip" }, ...generated),
    element("p", { class: "scores" }, scores.join(" · ")));
}

function options(select, values) {
  const kept = select.value;
  select.replaceChildren(...values.map((value) => element("option", { value }, value)));
  if (values.includes(kept)) select.value = kept;
}

function showGallery(first) {
  const shown = data.arms.filter((arm) => Object.keys(arm.pictures).length);
  const attack = $("#g-attack"), person = $("#g-person");
  options(attack, [...new Set(shown.map((arm) => arm.attack))]);
  if (first && attack.options.length > 1) attack.selectedIndex = 1; // after the clean arm
  const arms = shown.filter((arm) => arm.attack === attack.value);
  options(person, [...new Set(arms.flatMap((arm) => Object.keys(arm.pictures)))].sort());
  const those = arms.filter((arm) => arm.pictures[person.value]);
  $("#cards").replaceChildren(...those.map((arm) => card(arm, person.value)));
}

// ---- details of an arm
function part(title, ...content) {
  return [element("h3", {}, title), ...content];
}

function stages(arm) {
  return Object.entries(arm.stages).map(([person, rows]) =>
    element("details", {}, element("summary", {}, person),
      table(["stage", "key", "time", "memory", "device", "git", "remark"], rows)));
}

function showDetails(arm) {
  const flags = Object.entries(arm.flags).flatMap(([flag, people]) =>
    Object.entries(people).map(([person, seen]) => [flag, person, seen]));
  $("#d-title").textContent = called(arm);
  $("#d-body").replaceChildren(
    element("p", { class: "legend" }, `${arm.name}; from ${arm.folders.join(", ")}`),
    ...(flags.length ? part("Flags", table(["flag", "person", "what was seen"], flags)) : []),
    ...part("Means over people", table(["metric", "mean"], Object.entries(arm.means))),
    ...(arm.differences.length
      ? part("Differences", table(["minus", "metric", "difference", "p, people"], arm.differences)) : []),
    ...(Object.keys(arm.stages).length ? part("Stages", ...stages(arm)) : []),
    ...(arm.config ? part("Config", element("pre", { tabindex: 0 }, arm.config)) : []));
  const dialog = $("#details");
  dialog.showModal();
  dialog.scrollTop = 0;
}

document.documentElement.classList.add("scripted");
for (const radio of $$("#metrics input")) radio.addEventListener("change", () => showMetric(radio.value));
showMetric($("#metrics input:checked").value);
for (const header of $$("#arms thead th[aria-sort]"))
  $("button", header).addEventListener("click", () => sortBy(header));
$("#filter").addEventListener("input", filterArms);
$("#flagged").addEventListener("change", filterArms);
for (const button of $$("button[data-arm]"))
  button.addEventListener("click", () => showDetails(data.arms[button.dataset.arm]));
if ($("#cards")) {
  $("#g-attack").addEventListener("change", () => showGallery(false));
  $("#g-person").addEventListener("change", () => showGallery(false));
  showGallery(true);
}
