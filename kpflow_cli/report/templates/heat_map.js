"use strict";
// a table's rows over two of its columns that are keys, coloured by one that is a value
(() => {
  const { make, orderOf, compare } = window.kpflow;
  const VIRIDIS = [
    [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129],
    [92, 200, 99], [170, 220, 50], [253, 231, 37],
  ];
  // wider maps have no room for numbers: these stand in the cell's title then
  const MOST_COLUMNS = 16;
  const NONE = "-1";

  const colourAt = (part) => {
    const place = Math.min(Math.max(part, 0), 1) * (VIRIDIS.length - 1);
    const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
    const rgb = VIRIDIS[low].map((each, i) => each + (place - low) * (VIRIDIS[low + 1][i] - each));
    const light = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2] > 120;
    return { back: `rgb(${rgb.map(Math.round).join(" ")})`, front: light ? "#000" : "#fff" };
  };
  const write = (value) => String(Number(value.toPrecision(3)));
  const mean = (values) => values.reduce((sum, each) => sum + each, 0) / values.length;
  const spread = (values) => {
    const centre = mean(values);
    return Math.sqrt(values.reduce((sum, each) => sum + (each - centre) ** 2, 0) /
      (values.length - 1));
  };

  const readTable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const columns = heads.map((head, index) => ({
      index, name: head.textContent.trim(), role: head.dataset.role,
      isNumber: head.classList.contains("number"),
    }));
    return {
      keys: columns.filter((each) => each.role === "key"),
      values: columns.filter((each) => each.role === "value"),
    };
  };
  const textOf = (row, column) => row.cells[column.index].textContent.trim();
  const inOrder = (rows, column) => {
    const found = new Map(rows.map((row) => [textOf(row, column),
      orderOf(row.cells[column.index], column.isNumber)]));
    return [...found].filter(([, order]) => order !== null)
      .sort(([, one], [, other]) => compare(one, other)).map(([text]) => text);
  };

  const gather = (rows, across, down, value) => {
    const cells = new Map();
    rows.forEach((row) => {
      const number = orderOf(row.cells[value.index], true);
      if (number === null || !Number.isFinite(number)) return;
      const place = JSON.stringify([textOf(row, across), down ? textOf(row, down) : ""]);
      cells.set(place, [...(cells.get(place) ?? []), number]);
    });
    return cells;
  };

  const makeScale = (cells, isLog) => {
    const means = [...cells.values()].map(mean).filter((each) => !isLog || each > 0);
    const [low, high] = [Math.min(...means), Math.max(...means)];
    const warp = isLog ? Math.log : (each) => each;
    const part = (each) => high > low ? (warp(each) - warp(low)) / (warp(high) - warp(low)) : 0.5;
    return { low, high, part, isEmpty: means.length === 0 };
  };

  const makeCell = (values, scale, isLog, hasText) => {
    const cell = make("td");
    if (!values) {
      cell.append(make("span", { className: "unseen" }, "none"));
      return cell;
    }
    const value = mean(values);
    const several = values.length > 1 ?
      `, mean of ${values.length} runs, standard deviation ${write(spread(values))}` : "";
    cell.title = `${write(value)}${several}`;
    cell.append(make("span", { className: hasText ? "" : "unseen" }, write(value)));
    if (isLog && value <= 0) return cell;
    const { back, front } = colourAt(scale.part(value));
    cell.style.setProperty("--cell", back);
    cell.style.setProperty("--on-cell", front);
    cell.className = "filled";
    return cell;
  };

  const draw = (box, rows, { across, down, value, isLog }) => {
    const cells = gather(rows, across, down, value);
    const scale = makeScale(cells, isLog);
    const lefts = inOrder(rows, across);
    const tops = down ? inOrder(rows, down).reverse() : [""];
    const counts = [...cells.values()].map((each) => each.length);
    const most = Math.max(0, ...counts);
    const over = down ? `${across.name} and ${down.name}` : across.name;
    const caption = scale.isEmpty ? `No run that is shown has ${value.name}` :
      `${value.name} over ${over}${most > 1 ? `, means of up to ${most} runs` : ""}`;
    const head = make("tr", {}, make("th", { scope: "col" }, down ? `${down.name} \\ ${across.name}` :
      across.name), ...lefts.map((each) => make("th", { scope: "col" }, each)));
    const body = tops.map((top) => make("tr", {}, make("th", { scope: "row" }, top || value.name),
      ...lefts.map((left) => makeCell(
        cells.get(JSON.stringify([left, top])), scale, isLog, lefts.length <= MOST_COLUMNS))));
    const stops = VIRIDIS.map((_, i) => colourAt(i / (VIRIDIS.length - 1)).back);
    const bar = make("span", { className: "scale" });
    bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    const legend = make("p", { className: "hint" }, scale.isEmpty ? "" : write(scale.low), bar,
      scale.isEmpty ? "" : `${write(scale.high)}${isLog ? ", logarithmic" : ""}`);
    box.replaceChildren(
      make("div", { className: "box", tabIndex: 0, role: "region", ariaLabel: caption },
        make("table", { className: "heat" }, make("caption", {}, make("span", {}, caption)),
          make("thead", {}, head), make("tbody", {}, ...body))),
      ...(scale.isEmpty ? [] : [legend]));
  };

  const makeSelect = (label, columns, chosen, none) => {
    const select = make("select", { ariaLabel: label }, ...(none ? [make("option", { value: NONE }, none)] : []),
      ...columns.map((each, i) => make("option", { value: String(i) }, each.name)));
    select.value = String(chosen);
    return { select, label: make("label", {}, label, select) };
  };

  document.querySelectorAll("[data-heat-map]").forEach((place) => {
    const table = document.querySelector(`#${place.dataset.heatMap} table`);
    const { keys, values } = readTable(table);
    if (!keys.length || !values.length) return;
    const all = [...table.tBodies[0].rows];
    const sizes = keys.map((key) => inOrder(all, key).length);
    // the keys with the most values, seeds last
    const order = keys.map((_, i) => i).sort((one, other) =>
      (keys[one].name === "seed") - (keys[other].name === "seed") || sizes[other] - sizes[one]);
    const isSecond = keys.length > 1 && keys[order[1]].name !== "seed";
    const across = makeSelect("Across", keys, order[0]);
    const down = makeSelect("Down", keys, isSecond ? order[1] : NONE, "(nothing)");
    const first = values.findIndex((each) => each.name === place.dataset.value);
    const value = makeSelect("Colour", values, Math.max(first, 0));
    const log = make("input", { type: "checkbox" });
    const box = make("div");
    place.replaceChildren(make("div", { className: "controls" }, across.label, down.label,
      value.label, make("label", { className: "inline" }, log, " logarithmic colours")), box);
    const redraw = () => draw(box, all.filter((row) => !row.hidden), {
      across: keys[across.select.value],
      down: down.select.value === across.select.value ? undefined : keys[down.select.value],
      value: values[value.select.value],
      isLog: log.checked,
    });
    [across.select, down.select, value.select, log].forEach((each) =>
      each.addEventListener("change", redraw));
    table.addEventListener("filtered", redraw);
    redraw();
  });
})();
