"use strict";
(() => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // what a cell is sorted by: a number, words, or nothing, which comes last either way
  const orderOf = (cell, isNumber) => {
    const text = cell.dataset.order ?? cell.textContent.trim();
    if (!isNumber) return text === "-" || text === "" ? null : text;
    const number = Number(text);
    return text === "" || Number.isNaN(number) ? null : number;
  };
  const compare = (one, other) =>
    typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true });

  // for the scripts that follow
  window.kpflow = { make, orderOf, compare };

  const sort = (table, index, direction) => {
    const isNumber = table.tHead.rows[0].cells[index].classList.contains("number");
    const rows = [...table.tBodies[0].rows].map((row) => [
      orderOf(row.cells[index], isNumber), row,
    ]);
    rows.sort(([one], [other]) => {
      if (one === null || other === null) return (one === null) - (other === null);
      return direction * compare(one, other);
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };

  const makeSortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, index) => {
      head.setAttribute("aria-sort", "none");
      const button = make("button", { type: "button" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((each) => each.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, index, descending ? -1 : 1);
      });
    });
  };

  // "gain=1.5", "loss<0.1": a column by its name, or by the end of it after a dot
  const parseTerm = (term, names) => {
    const [, name, sign, wanted] = /^([^<>=]+)(<=|>=|<|>|=)(.+)$/.exec(term) ?? [];
    if (!name) return null;
    const index = names.findIndex((each) => each === name || each.endsWith(`.${name}`));
    return index < 0 ? null : { index, sign, wanted };
  };
  const signs = {
    "=": (a, b) => a === b, "<": (a, b) => a < b, ">": (a, b) => a > b,
    "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
  };
  const holds = (row, term, names) => {
    const found = parseTerm(term, names);
    if (!found) return row.textContent.toLowerCase().includes(term);
    const cell = row.cells[found.index];
    const text = cell.textContent.trim().toLowerCase();
    const number = Number(cell.dataset.order ?? (text || NaN));
    const wanted = Number(found.wanted);
    if (!Number.isNaN(number) && !Number.isNaN(wanted)) {
      return signs[found.sign](number, wanted) || (found.sign.includes("=") && text === found.wanted);
    }
    return found.sign === "=" && text === found.wanted;
  };

  const makeFilter = (table) => {
    const names = [...table.tHead.rows[0].cells].map((head) =>
      head.textContent.trim().toLowerCase().replaceAll(" ", "_"));
    const rows = [...table.tBodies[0].rows];
    const input = make("input", { type: "search", autocomplete: "off", spellcheck: false });
    const all = `${rows.length} row${rows.length === 1 ? "" : "s"}`;
    const count = make("p", { className: "hint" }, all);
    count.setAttribute("role", "status");
    input.addEventListener("input", () => {
      const terms = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row) => {
        row.hidden = !terms.every((term) => holds(row, term, names));
        shown += !row.hidden;
      });
      count.textContent = terms.length ? `${shown} of ${all}` : all;
      table.dispatchEvent(new Event("filtered"));
    });
    const label = make("label", {}, "Show rows with (words, or column=value, column<value)", input);
    table.closest(".table").prepend(make("div", { className: "controls" }, label, count));
  };

  // columns that are aside until they are asked for
  const makeColumnChoice = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    if (!heads.some((head) => "aside" in head.dataset)) return;
    const show = (index, isShown) =>
      [...table.rows].forEach((row) => { row.cells[index].hidden = !isShown; });
    const choices = heads.slice(1).map((head, i) => {
      const box = make("input", { type: "checkbox", checked: !("aside" in head.dataset) });
      box.addEventListener("change", () => show(i + 1, box.checked));
      if (!box.checked) show(i + 1, false);
      return make("label", { className: "inline" }, box, ` ${head.textContent.trim()}`);
    });
    table.closest(".table").prepend(make("details", { className: "choice" },
      make("summary", {}, "Columns"), make("div", { className: "controls" }, ...choices)));
  };

  document.querySelectorAll("table[data-sortable]").forEach(makeColumnChoice);
  document.querySelectorAll("table[data-filter]").forEach(makeFilter);
  document.querySelectorAll("table[data-sortable]").forEach(makeSortable);

  // a page of a run that goes on is read again, unless somebody is at work on it
  const seconds = Number(document.body.dataset.refresh);
  if (seconds) {
    const box = make("input", { type: "checkbox", checked: true });
    document.querySelector(".head").append(
      make("p", { className: "controls" }, make("label", { className: "inline" }, box,
        ` read again every ${seconds} seconds`)));
    setInterval(() => {
      const busy = document.activeElement?.matches("input[type=search], select");
      if (box.checked && !busy && !document.hidden) location.reload();
    }, 1000 * seconds);
  }
})();
