"use strict";
// The page of a comparison: one table, and plots of the runs that it shows.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const runs = data.runs;
  const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9", "#8A6FC9",
    "#7A7A7A", "#C44E52", "#2A9D8F"];
  // the same hues, light enough for dark paper
  const ON_DARK = ["#5BADEB", "#F58E52", "#2FC79A", "#E8A3CB", "#E3B84A", "#9AD4F7", "#B9A3F2",
    "#B4B4B4", "#EF8A95", "#6AD6C7"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "cross", "x", "star"];
  const state = { sort: null, descending: false, filter: "", picked: new Set() };

  // ---- values ------------------------------------------------------------------------------
  const figure = (name) => data.figures[name] || { label: name, goal: null, unit: "text" };

  function show(name, value) {
    if (value === undefined || value === null) return "–";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value !== "number") return String(value);
    if (name.startsWith("macs_") && figure(name).unit === "count") {
      return (value / 1e6).toLocaleString("en", { maximumFractionDigits: 1 }) + " M";
    }
    switch (figure(name).unit) {
      case "count": return value.toLocaleString("en", { maximumFractionDigits: 0 });
      case "fraction": return name.startsWith("rate") ? String(+value.toPrecision(3)) : value.toFixed(4);
      case "ratio": return value.toFixed(3);
      case "milliseconds": return (value < 100 ? value.toPrecision(3) : value.toFixed(0)) + " ms";
      case "seconds": return value.toLocaleString("en", { maximumFractionDigits: 0 }) + " s";
      case "megabytes": return value.toFixed(0) + " MB";
      default: return String(+value.toPrecision(4));
    }
  }

  const series = (run) =>
    [run.values.model, run.values.criterion || (run.kind === "evaluation" ? "evaluated" : "dense")]
      .filter(Boolean).join(" · ");
  // by all runs, so that a series keeps its look whatever is filtered or sorted
  const SERIES = [...new Set(runs.map(series))];
  const tintOf = (i) => (isDark() ? ON_DARK : PALETTE)[i % PALETTE.length];
  const style = (index) => ({
    color: tintOf(index),
    dash: DASHES[Math.floor(index / PALETTE.length) % DASHES.length],
  });

  // ---- which runs are shown ------------------------------------------------------------------
  const SUFFIX = { "": 1, k: 1e3, m: 1e6, g: 1e9, "%": 0.01 };

  function number(text) {
    const match = /^([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)([kMG%]?)$/i.exec(text);
    return match ? parseFloat(match[1]) * SUFFIX[match[2].toLowerCase()] : null;
  }

  // Terms apart by spaces, all of which must hold: a text, or NAME OPERATOR VALUE.
  function condition(text) {
    const tests = text.trim().split(/\s+/).filter(Boolean).map((term) => {
      const match = /^([^<>=!~]+)(<=|>=|!=|==|=|<|>|~)(.+)$/.exec(term);
      if (!match) {
        const wanted = term.toLowerCase();
        return (run) => run.text.includes(wanted);
      }
      const [, name, sign, value] = match;
      if (!runs.some((run) => name in run.values)) throw new Error(`no run has a value ${name}`);
      const wanted = number(value);
      return (run) => {
        const found = run.values[name];
        if (found === undefined) return false;
        if (sign === "~") return String(found).toLowerCase().includes(value.toLowerCase());
        if (typeof found === "number" && wanted !== null) {
          return { "<": found < wanted, "<=": found <= wanted, ">": found > wanted,
            ">=": found >= wanted, "=": found === wanted, "==": found === wanted,
            "!=": found !== wanted }[sign];
        }
        const same = String(found).toLowerCase() === value.toLowerCase();
        return sign === "!=" ? !same : (sign === "=" || sign === "==") && same;
      };
    });
    return (run) => tests.every((test) => test(run));
  }

  function visible() {
    let shown = runs.slice();
    $("filter-problem").textContent = "";
    try {
      shown = shown.filter(condition(state.filter));
    } catch (error) {
      $("filter-problem").textContent = error.message;
    }
    if (state.sort !== null) {
      const sign = state.descending ? -1 : 1;
      shown.sort((a, b) => {
        const [x, y] = [a.values[state.sort], b.values[state.sort]];
        if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
        return sign * (typeof x === "number" && typeof y === "number" ? x - y :
          String(x).localeCompare(String(y), "en", { numeric: true }));
      });
    }
    return shown;
  }

  const focused = () => {
    const shown = visible();
    const picked = shown.filter((run) => state.picked.has(run.index));
    return picked.length ? picked : shown;
  };

  // ---- the table -----------------------------------------------------------------------------
  function drawHead() {
    const row = document.createElement("tr");
    for (const column of data.columns) {
      const head = document.createElement("th");
      head.scope = "col";
      if (column.text) head.className = "text";
      const button = document.createElement("button");
      button.type = "button";
      button.title = `${column.label} (${column.name})`;
      const sorted = state.sort === column.name;
      button.textContent = column.head + (sorted ? (state.descending ? " ▾" : " ▴") : "");
      head.setAttribute("aria-sort", sorted ? (state.descending ? "descending" : "ascending") : "none");
      button.addEventListener("click", () => {
        state.descending = sorted ? !state.descending : column.goal === "max";
        state.sort = column.name;
        update();
        document.querySelectorAll("#table th button")[data.columns.indexOf(column)].focus();
      });
      head.append(button);
      row.append(head);
    }
    $("table").tHead.replaceChildren(row);
  }

  function drawBody(shown) {
    const best = {};
    for (const column of data.columns) {
      if (!column.goal || shown.length < 2) continue;
      const values = shown.map((run) => run.values[column.name]).filter((v) => typeof v === "number");
      if (values.length > 1 && new Set(values).size > 1) {
        best[column.name] = column.goal === "max" ? Math.max(...values) : Math.min(...values);
      }
    }
    const body = shown.map((run) => {
      const row = document.createElement("tr");
      row.classList.toggle("picked", state.picked.has(run.index));
      data.columns.forEach((column, place) => {
        const cell = document.createElement("td");
        if (column.text) cell.className = "text";
        if (place === 0) {
          const label = document.createElement("label");
          label.title = run.path;
          const box = document.createElement("input");
          box.type = "checkbox";
          box.checked = state.picked.has(run.index);
          box.addEventListener("change", () => pick(run.index));
          const name = document.createElement("span");
          name.textContent = run.name;
          label.append(box, name);
          cell.append(label);
        } else {
          const value = run.values[column.name];
          cell.textContent = show(column.name, value);
          if (value !== undefined && value === best[column.name]) {
            cell.classList.add("best");
            cell.title = "best of the rows shown";
          }
        }
        row.append(cell);
      });
      return row;
    });
    $("table").tBodies[0].replaceChildren(...body);
    $("shown").textContent = `${shown.length} of ${runs.length} runs.`;
    $("unpick").hidden = state.picked.size === 0;
  }

  function pick(index) {
    if (!state.picked.delete(index)) state.picked.add(index);
    update();
  }

  // ---- plots ---------------------------------------------------------------------------------
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const narrow = () => window.innerWidth < 560;
  const isDark = () => {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  // Viridis begins with a violet that cannot be seen on dark paper.
  const scale = () => (isDark() ? [[0, "#6d8df2"], [0.5, "#4fd1a5"], [1, "#ffe066"]] : "Viridis");
  const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false };

  function layout(more) {
    const axis = { gridcolor: color("--line"), linecolor: color("--line"), zeroline: false,
      automargin: true, tickcolor: color("--line") };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: color("--ink"), family: "system-ui, sans-serif", size: narrow() ? 11 : 12 },
      margin: { l: 8, r: 12, t: 12, b: 8 },
      hoverlabel: { align: "left", bgcolor: color("--paper"), bordercolor: color("--line"),
        font: { color: color("--ink") } },
      legend: narrow() ? { orientation: "h", y: -0.25, yanchor: "top", font: { size: 10 } } : {},
      ...more,
      xaxis: { ...axis, ...(more.xaxis || {}) }, yaxis: { ...axis, ...(more.yaxis || {}) },
    };
  }

  const ending = (text, most) =>
    (text.length > most ? `…${text.slice(1 - most)}` : text);
  const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");

  function plot(id, traces, more) {
    return Plotly.react($(id), traces, layout(more), CONFIG);
  }

  function frontOf(points, goal) {
    const sign = goal === "min" ? -1 : 1;
    const best = [];
    for (const point of points.slice().sort((a, b) => a.x - b.x || sign * (b.y - a.y))) {
      if (!best.length || sign * point.y > sign * best[best.length - 1].y) best.push(point);
    }
    return best;
  }

  const origin = (reference) =>
    ["reference", reference.data, reference.about].filter(Boolean).join(", ");

  // Said where references and runs were measured on different pictures: their AP is not the same.
  function foreign() {
    const own = new Set(runs.map((run) => run.values.data).filter(Boolean));
    const other = new Set(data.references.map((one) => one.data)
      .filter((name) => name && own.size && !own.has(name)));
    return other.size ? `The references were measured on ${[...other].join(", ")}, not on ` +
      `${[...own].join(", ")}: compare sizes with them, not quality.` : "";
  }

  let steps = []; // points of the front plot in the order of the arrow keys
  let at = -1;
  let clickable = false;

  function drawFront(shown) {
    const [x, y] = [$("front-x").value, $("front-y").value];
    const points = shown.filter((run) => typeof run.values[x] === "number" &&
        typeof run.values[y] === "number")
      .map((run) => ({ x: run.values[x], y: run.values[y], run }));
    const references = data.references.filter((one) => typeof one[x] === "number" &&
        typeof one[y] === "number").map((one) => ({ x: one[x], y: one[y], reference: one }));
    const best = frontOf(points, figure(y).goal);
    const traces = [{
      x: best.map((p) => p.x), y: best.map((p) => p.y), mode: "lines", hoverinfo: "skip",
      line: { shape: "hv", color: color("--faint"), width: 1.5 },
      name: "best of its size",
    }];
    const about = (p) => p.reference ?
      `<b>${escape(p.reference.name)}</b><br>${escape(origin(p.reference))}` :
      `<b>${escape(p.run.label)}</b>`;
    const hover = (p) => `${about(p)}<br>${escape(figure(y).label)} ${show(y, p.y)}` +
      `<br>${escape(figure(x).label)} ${show(x, p.x)}`;
    const groups = new Map();
    for (const point of points) {
      const name = series(point.run);
      groups.set(name, [...(groups.get(name) || []), point]);
    }
    steps = [];
    SERIES.filter((name) => groups.has(name)).forEach((name) => {
      const members = groups.get(name);
      const i = SERIES.indexOf(name);
      members.forEach((p, n) => steps.push({ ...p, trace: traces.length, point: n }));
      traces.push({
        x: members.map((p) => p.x), y: members.map((p) => p.y), mode: "markers", name,
        text: members.map(hover), hovertemplate: "%{text}<extra></extra>",
        customdata: members.map((p) => p.run.index),
        marker: {
          color: tintOf(i), opacity: 1, symbol: SYMBOLS[i % SYMBOLS.length],
          size: members.map((p) => (state.picked.has(p.run.index) ? 17 : 11)),
          line: { color: members.map((p) => state.picked.has(p.run.index) ? color("--ink") :
            color("--paper")), width: 1.5 },
        },
      });
    });
    if (references.length) {
      references.forEach((p, n) => steps.push({ ...p, trace: traces.length, point: n }));
      traces.push({
        x: references.map((p) => p.x), y: references.map((p) => p.y), mode: "markers",
        name: "references", text: references.map(hover), hovertemplate: "%{text}<extra></extra>",
        marker: { color: color("--faint"), symbol: "star-open", size: 11, line: { width: 1.5 } },
      });
    }
    steps.sort((a, b) => a.x - b.x || a.y - b.y);
    at = -1;
    $("front-point").textContent = "";
    const log = $("front-log").checked;
    const drawn = plot("front", traces, {
      height: 460, showlegend: true, hovermode: "closest",
      xaxis: { title: { text: figure(x).label }, type: log ? "log" : "linear" },
      yaxis: { title: { text: figure(y).label } },
    });
    if (!clickable) $("front").on("plotly_click", (event) => {
      const index = event.points[0].customdata;
      if (typeof index === "number") pick(index);
    });
    clickable = true;
    return drawn;
  }

  function step(to) {
    if (!steps.length) return;
    at = (to + steps.length) % steps.length;
    const p = steps[at];
    Plotly.Fx.hover($("front"), [{ curveNumber: p.trace, pointNumber: p.point }]);
    const [x, y] = [$("front-x").value, $("front-y").value];
    const name = p.reference ? `${p.reference.name} (${origin(p.reference)})` : p.run.label;
    $("front-point").textContent =
      `${at + 1} of ${steps.length}: ${name}: ${figure(y).label} ${show(y, p.y)}, ` +
      `${figure(x).label} ${show(x, p.x)}`;
  }

  // Axes on which runs differ, and the runs that have the figure that tints them.
  function parallelParts(shown) {
    const tint = $("parallel-color").value;
    const kept = shown.filter((run) => typeof run.values[tint] === "number");
    // an axis that some runs lack would show them at a value that they do not have
    const names = data.axes.filter((name) => kept.every((run) => run.values[name] !== undefined) &&
      new Set(kept.map((run) => run.values[name])).size > 1);
    return { names, tint, kept };
  }

  function drawParallel(shown) {
    const { names, tint, kept } = parallelParts(shown);
    const dimensions = names.map((name) => {
      const values = kept.map((run) => run.values[name]);
      const label = data.axis_labels[name];
      if (values.every((value) => typeof value === "number")) {
        return { label, values,
          tickformat: figure(name).unit === "count" ? ".3~s" : ".3~g" };
      }
      const kinds = [...new Set(values.map(String))].sort();
      return { label, values: values.map((value) => kinds.indexOf(String(value))),
        tickvals: kinds.map((_, i) => i), ticktext: kinds.map((kind) => ending(kind, 16)) };
    });
    const element = $("parallel");
    // an axis is as wide as the longest label, so that none runs into the next
    const widest = Math.max(0, ...dimensions.map((one) => one.label.length));
    element.style.minWidth = `${Math.max(300, 130 + Math.max(115, 7 * widest + 16) * names.length)}px`;
    return plot("parallel", [{
      type: "parcoords", dimensions,
      line: { color: kept.map((run) => run.values[tint]), colorscale: scale(),
        reversescale: figure(tint).goal === "min", showscale: true,
        colorbar: { title: { text: figure(tint).label, side: "right" }, thickness: 12 } },
      labelfont: { size: 12, color: color("--ink") }, tickfont: { size: 10, color: color("--ink") },
      rangefont: { size: 9, color: color("--faint") },
      unselected: { line: { color: color("--line"), opacity: 0.25 } },
    }], { height: 420, margin: { l: 70, r: 20, t: 60, b: 20 } });
  }

  function drawLines(id, shown, find, more) {
    const traces = shown.filter(find).map((run) => {
      const [x, y] = find(run);
      const { color: tint, dash } = style(run.index);
      return { x, y, mode: x.length < 40 && id === "curves" ? "lines+markers" : "lines",
        name: run.label, line: { color: tint, dash, width: 2 }, marker: { size: 4 },
        hovertemplate: `<b>${escape(run.label)}</b><br>%{x}: %{y:.4f}<extra></extra>` };
    });
    // below a narrow plot a long legend would leave no plot; pointing at a line names it too
    const showlegend = !narrow() || traces.length <= 8;
    return plot(id, traces, { height: 420, showlegend, hovermode: "closest", ...more });
  }

  function drawCurves(shown) {
    const name = $("curves-name").value;
    if (!name) return null;
    return drawLines("curves", shown, (run) => run.curves[name], {
      xaxis: { title: { text: "epoch" } }, yaxis: { title: { text: data.heads[name] || name } },
    });
  }

  function drawQuality(shown) {
    const [kind, name] = ($("quality-name").value || "").split("|");
    if (!kind) return null;
    const pr = kind === "precision_recall";
    return drawLines("quality", shown, (run) => run[kind][name], {
      xaxis: pr ? { title: { text: "recall" }, range: [0, 1.01] } :
        { title: { text: "false accept rate" }, type: "log" },
      yaxis: { title: { text: pr ? "precision" : "true accept rate" }, range: [0, 1.02] },
    });
  }

  function drawLayers(shown) {
    const model = $("layers-model").value;
    const what = $("layers-what").value;
    const with_layers = shown.filter((run) => run.layers.length && run.values.model === model);
    const names = [...new Set(with_layers.flatMap((run) => run.layers.map((row) => row[0])))];
    const column = what === "kept" ? 2 : 3;
    const tables = with_layers.map((run) => new Map(run.layers.map((row) => [row[0], row])));
    const cells = (make) => names.map((name) => tables.map((table) => {
      const row = table.get(name);
      return row ? make(row) : null;
    }));
    $("layers").style.minWidth = `${200 + 26 * with_layers.length}px`;
    return plot("layers", [{
      type: "heatmap", x: with_layers.map((run) => run.label), y: names,
      z: cells((row) => row[column] / row[1]),
      text: cells((row) => `${row[2]} of ${row[1]} kept, ${row[3]} in the slim network`),
      hovertemplate: "<b>%{x}</b><br>%{y}<br>%{text}<extra></extra>",
      zmin: 0, zmax: 1, xgap: 1, ygap: 1, colorscale: "Cividis",
      colorbar: { tickformat: ".0%", thickness: 12 },
    }], {
      height: Math.max(320, 110 + 15 * names.length),
      xaxis: { type: "category", tickangle: -45, showgrid: false,
        tickvals: with_layers.map((run) => run.label),
        ticktext: with_layers.map((run) => (narrow() ? ending(run.name, 14) : run.tick)) },
      yaxis: { autorange: "reversed", type: "category", showgrid: false, tickfont: { size: 10 },
        tickvals: names, ticktext: names.map((name) => ending(name, narrow() ? 25 : 40)) },
    });
  }

  function drawPictures(shown) {
    const figures = shown.filter((run) => run.picture !== null).map((run) => {
      const element = document.createElement("figure");
      const image = document.createElement("img");
      image.src = data.pictures[run.picture];
      image.decoding = "async";
      image.alt = `sample pictures with the boxes of ${run.label}`;
      const caption = document.createElement("figcaption");
      caption.textContent = run.label;
      element.append(caption, image);
      return element;
    });
    $("pictures").replaceChildren(...figures);
  }

  // ---- CSV of what is shown --------------------------------------------------------------------
  const rows = {
    table: () => [[...data.columns.map((column) => column.name), "path"],
      ...visible().map((run) => [...data.columns.map((c) => run.values[c.name]), run.path])],
    front: () => {
      const [x, y] = [$("front-x").value, $("front-y").value];
      return [["name", "series", x, y], ...steps.map((p) => [
        p.reference ? p.reference.name : p.run.name, p.reference ? "reference" : series(p.run),
        p.x, p.y])];
    },
    parallel: () => [["run", ...data.axes],
      ...focused().map((run) => [run.name, ...data.axes.map((name) => run.values[name])])],
    curves: () => long($("curves-name").value, "epoch", (run) => run.curves[$("curves-name").value]),
    quality: () => {
      const [kind, name] = $("quality-name").value.split("|");
      return kind === "roc" ? long("true_accept_rate", "false_accept_rate", (run) => run.roc[name]) :
        long("precision", "recall", (run) => run.precision_recall[name]);
    },
    layers: () => [["run", "layer", "filters", "kept", "slim"],
      ...focused().flatMap((run) => run.layers.map((row) => [run.name, ...row]))],
  };
  const long = (y, x, find) => [["run", x, y], ...focused().filter(find).flatMap((run) => {
    const [xs, ys] = find(run);
    return xs.map((value, i) => [run.name, value, ys[i]]);
  })];

  function saveCsv(name) {
    const quote = (value) => {
      const text = value === undefined || value === null ? "" : String(value);
      return /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    };
    const text = rows[name]().map((row) => row.map(quote).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `${name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // ---- all together ----------------------------------------------------------------------------
  // A plot is drawn once its part of the page comes near: a change is then shown at once, however
  // many runs there are.
  const drawers = {
    front: () => drawFront(visible()),
    parallel: () => drawParallel(focused()),
    curves: () => drawCurves(focused()),
    quality: () => drawQuality(focused()),
    layers: () => drawLayers(focused()),
    pictures: () => drawPictures(focused()),
  };
  const stale = new Set();
  const near = new Set();

  function refresh(name) {
    if (near.has(name) && stale.delete(name)) drawers[name]();
  }

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const name = entry.target.id.replace("s-", "");
      if (entry.isIntersecting) near.add(name);
      else near.delete(name);
      refresh(name);
    }
  }, { rootMargin: "300px" });

  function update() {
    drawHead();
    drawBody(visible());
    const { names, kept } = parallelParts(focused());
    $("s-parallel").hidden = names.length < 2 || kept.length < 2;
    for (const name of Object.keys(drawers)) {
      stale.add(name);
      refresh(name);
    }
  }

  function fill(id, options, chosen) {
    $(id).replaceChildren(...options.map(([value, label]) => new Option(label, value)));
    if (chosen !== undefined && options.some(([value]) => value === chosen)) $(id).value = chosen;
    $(id).addEventListener("change", update);
    return options.length > 0;
  }

  runs.forEach((run, index) => {
    run.index = index;
    run.text = [run.name, run.path, run.kind, ...Object.entries(run.values)
      .filter(([, value]) => typeof value === "string").map(([, value]) => value)]
      .join(" ").toLowerCase();
  });
  $("shared").textContent = data.shared;
  $("front-foreign").textContent = foreign();
  $("problems").replaceChildren(...data.problems.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  const named = (names) => names.map((name) => [name, figure(name).label]);
  const hasFront = fill("front-y", named(data.qualities), data.quality) &
    fill("front-x", named(data.sizes), data.sizes[0]);
  $("s-front").hidden = !hasFront;
  fill("parallel-color", named(data.qualities), data.quality);
  const curves = [...new Set(runs.flatMap((run) => Object.keys(run.curves)))].sort((a, b) =>
    b.startsWith("val/") - a.startsWith("val/") || a.localeCompare(b));
  $("s-curves").hidden = !fill("curves-name", curves.map((name) => [name, data.heads[name] || name]),
    data.curve);
  const overlaid = ["precision_recall", "roc"].flatMap((kind) =>
    [...new Set(runs.flatMap((run) => Object.keys(run[kind])))].map((name) =>
      [`${kind}|${name}`, `${kind === "roc" ? "ROC" : "precision and recall"}, ${name}`]));
  $("s-quality").hidden = !fill("quality-name", overlaid, `precision_recall|hard`);
  const models = [...new Set(runs.filter((run) => run.layers.length).map((run) => run.values.model))];
  $("s-layers").hidden = !fill("layers-model", models.map((name) => [name, name]));
  $("layers-what").addEventListener("change", update);
  $("s-pictures").hidden = !runs.some((run) => run.picture !== null);

  $("filter").addEventListener("input", () => { state.filter = $("filter").value; update(); });
  $("unpick").addEventListener("click", () => { state.picked.clear(); update(); });
  $("front-log").addEventListener("change", update);
  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    update();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
  document.querySelectorAll("[data-csv]").forEach((button) =>
    button.addEventListener("click", () => saveCsv(button.dataset.csv)));
  document.querySelectorAll("[data-png]").forEach((button) =>
    button.addEventListener("click", () => Plotly.downloadImage($(button.dataset.png),
      { format: "png", scale: 2, filename: button.dataset.png })));
  $("front").addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight" || event.key === "ArrowDown") step(at + 1);
    else if (event.key === "ArrowLeft" || event.key === "ArrowUp") step(at < 0 ? -1 : at - 1);
    else if (event.key === "Home") step(0);
    else if (event.key === "End") step(-1);
    else if (event.key === "Enter" && at >= 0 && steps[at].run) {
      const { run } = steps[at];
      pick(run.index);
      step(steps.findIndex((point) => point.run === run)); // drawn anew, the plot has lost its place
    }
    else return;
    event.preventDefault();
  });
  $("front").addEventListener("blur", () => {
    if (clickable) Plotly.Fx.unhover($("front"));
  });
  update();
  for (const name of Object.keys(drawers)) observer.observe($(`s-${name}`));
  window.comparison = { state, visible, steps: () => steps };
})();
