"use strict";
// Moves the cursor along the time axis and copies the ranking in force there into the page. All texts and numbers are
// prepared in the page's data; they enter as text, never as markup.

function secondsLabel(seconds) {
  const [value, unit] = seconds < 0.095 ? [seconds * 1e3, "ms"] : seconds < 99.5 ? [seconds, "s"]
    : seconds < 5940 ? [seconds / 60, "min"] : [seconds / 3600, "h"];
  return `${Number(value.toPrecision(2))} ${unit}`;
}

function show(element, point) {
  element.setAttribute("style", point.style);
  for (const field of element.querySelectorAll("[data-field]")) field.textContent = point[field.dataset.field];
}

for (const answer of document.querySelectorAll(".answer")) {
  const {points, steps} = JSON.parse(answer.querySelector("script").textContent);
  const low = Number(answer.dataset.low), high = Number(answer.dataset.high);
  const slider = answer.querySelector("input"), rows = answer.querySelectorAll("tbody tr");
  slider.addEventListener("input", () => {
    const share = slider.value / slider.max;
    const budget = Math.max(low, Number((low * (high / low) ** share).toPrecision(2)));
    const step = steps.filter((each) => each.from <= budget).pop();
    answer.querySelector(".timeline").style.setProperty("--here", `${100 * share}%`);
    answer.querySelector("[data-budget]").textContent = secondsLabel(budget);
    show(answer.querySelector(".winner"), points[step.ranking[0]]);
    rows.forEach((row, number) => {
      row.hidden = number >= step.ranking.length;
      if (row.hidden) return;
      show(row, points[step.ranking[number]]);
      row.classList.toggle("apart", !step.overlaps[number]);
    });
  });
}
document.documentElement.classList.add("js");
