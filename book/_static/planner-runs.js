/* The planner's table of measured checkpoints: (N, D, loss) or (N, D, k, pass@k) as CSV.
 *
 * Column names, numbers and what is left out are those of t2lib.data.readers; tests/test_planner.py
 * holds both together. Nothing here fits a law: the checkpoints are drawn, and the law in use is judged
 * on them. Nothing here touches the page.
 */
(function (root) {
  "use strict";
  const { parseQuantity } = root.t2units, { text } = root.t2laws;
  const MOST = { bytes: 2e6, rows: 20000 };
  const ENDED = ["crashed", "failed", "killed", "running", "preempted", "preempting"];
  // The names that t2lib.data.readers.columns knows most often; one letter counts in its own case.
  const NAMES = {
    N: "N params parameters parameter_count param_count n_params n_parameters num_params num_parameters model_params model_parameters total_params total_parameters model_size",
    D: "D tokens total_tokens train_tokens training_tokens tokens_seen token_count tokens_trained num_train_tokens n_train_tokens training_token_count",
    k: "k", accuracy: "accuracy pass_at_k pass@k", nll: "nll", state: "state status",
    loss: "val/loss eval/loss valid/loss validation/loss val_loss eval_loss valid_loss validation_loss final_val_loss final_eval_loss final_loss loss",
  };
  const PREFIXED = ["N", "D"]; // may stand behind "throughput/" or "config."
  const UNITS = { N: "parameters", D: "tokens", k: "samples", accuracy: null, nll: null, loss: null };

  class RunsError extends Error {}

  /** Fields of one line; a field in double quotes may hold the separator. */
  function fields(line, separator) {
    const out = [];
    let field = "", quoted = false;
    for (const c of line) {
      if (c === '"') quoted = !quoted;
      else if (c === separator && !quoted) { out.push(field.trim()); field = ""; } else field += c;
    }
    out.push(field.trim());
    return out;
  }

  function column(header, meaning) {
    const names = NAMES[meaning].split(" ");
    const same = (name, other) => (other.length === 1 ? name === other : name.toLowerCase() === other.toLowerCase());
    const ends = (name) => PREFIXED.includes(meaning) && names.some((other) => other.length > 1 && new RegExp("[/.]" + other + "$", "i").test(name));
    for (const accept of [(name) => same(name, names[0]), (name) => names.some((other) => same(name, other)), ends]) {
      const places = header.flatMap((name, i) => (accept(name) ? [i] : []));
      if (places.length > 1)
        throw new RunsError(`The table must have one column for ${meaning}, got '${text(header[places[0]], 40)}' and '${text(header[places[1]], 40)}'. Rename the one that is meant to ${names[0]}, or drop the other.`);
      if (places.length) return places[0];
    }
    return -1;
  }

  /** Measured checkpoints in the text of a CSV: {metric, rows: [{N, D, k, value}], dropped}. */
  function parseRuns(content, devices) {
    if (content.length > MOST.bytes) throw new RunsError(`A table must be at most ${MOST.bytes / 1e6} MB. Keep the columns N, D and what was measured.`);
    const lines = content.replace(/^\ufeff/, "").split(/\r\n|\n|\r/);
    const first = lines.findIndex((line) => line.trim());
    if (first < 0) throw new RunsError("The table is empty. Write a header such as N,D,loss and one line per checkpoint.");
    const head = lines[first], count = (c) => head.split(c).length;
    const separator = count("\t") > 1 && count(",") < 2 ? "\t" : count(";") > count(",") ? ";" : ",";
    const header = fields(head, separator), at = {};
    for (const meaning of Object.keys(NAMES)) at[meaning] = column(header, meaning);
    const metric = at.k >= 0 ? ["accuracy", "nll"].find((name) => at[name] >= 0) : at.loss >= 0 ? "loss" : undefined;
    if (at.N < 0 || at.D < 0 || !metric)
      throw new RunsError(`The table must have the columns N, D and loss, or N, D, k and pass@k, got ${text(header.join(", "), 120)}. Rename them.`);
    const rows = [];
    let dropped = 0;
    for (let i = first + 1; i < lines.length; i++) {
      if (!lines[i].trim()) continue;
      const cells = fields(lines[i], separator);
      if (cells.length > header.length) throw new RunsError(`Line ${i + 1} must have ${header.length} fields, as the header has, got ${cells.length}. Correct that line.`);
      const names = ["N", "D", ...(metric === "loss" ? [] : ["k"]), metric];
      const empty = names.some((name) => ["", "nan", "na", "null", "none"].includes((cells[at[name]] || "").toLowerCase()));
      if (empty || (at.state >= 0 && ENDED.includes((cells[at.state] || "").toLowerCase()))) { dropped++; continue; }
      const values = names.map((name) => number(cells[at[name]], name, header[at[name]], i + 1, devices));
      rows.push({ N: values[0], D: values[1], k: metric === "loss" ? 1 : values[2], value: values[values.length - 1] });
      if (rows.length > MOST.rows) throw new RunsError(`A table must have at most ${MOST.rows} lines. Keep one line per checkpoint and k.`);
    }
    if (!rows.length) throw new RunsError("The table holds no checkpoint with N, D and a measured value. Check that the export is complete.");
    return { metric, rows, dropped };
  }

  function number(cell, meaning, name, line, devices) {
    const fail = (need, remedy) => { throw new RunsError(`Line ${line} must have ${need} under '${text(name, 40)}', got '${text(cell, 40)}'. ${remedy}`); };
    let x;
    if (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(cell)) x = Number(cell);
    else {
      try { x = parseQuantity(cell, UNITS[meaning] ? { unit: UNITS[meaning], devices } : { devices }); } catch (error) { fail("a number", error.remedy); }
    }
    if (meaning === "accuracy" && !(x >= 0 && x <= 1)) fail("a share from 0 to 1", "Write 0.31 for 31 %.");
    if (meaning === "k" && !(x >= 1)) fail("a number of 1 or more", "k counts samples.");
    if (meaning !== "accuracy" && !(x > 0 && Number.isFinite(x))) fail("a number above 0", "Correct it, or leave the line out.");
    return x;
  }

  /** What a law predicts: the metric that a table needs to be compared with it. */
  const metricOf = (law) => (law.sense < 0 ? "accuracy" : law.usesK ? "nll" : "loss");

  /** The table as cells of one checkpoint each, as a law's evidence holds its own; null for another metric. */
  function cellsOf(law, runs) {
    if (runs.metric !== metricOf(law)) return null;
    const cells = new Map();
    for (const { N, D, k, value } of runs.rows) {
      const key = N + " " + D;
      if (!cells.has(key)) cells.set(key, { group: key, N, D, points: [] });
      cells.get(key).points.push({ k, value, se: null });
    }
    for (const cell of cells.values()) {
      cell.points.sort((a, b) => a.k - b.k);
      cell.points = cell.points.filter((p, i, all) => i === 0 || p.k > all[i - 1].k);
    }
    return [...cells.values()];
  }

  /** How far the law's predictions lie from the table: the mean factor, the median ratio less 1. */
  function errorOf(law, runs) {
    const logs = runs.rows.map(({ N, D, k, value }) => Math.log(law.value(N, D, k) / value)).filter(Number.isFinite);
    if (!logs.length) return null;
    const sorted = [...logs].sort((a, b) => a - b), half = sorted.length >> 1;
    const median = sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    return { factor: Math.exp(logs.reduce((sum, x) => sum + Math.abs(x), 0) / logs.length), bias: Math.expm1(median), count: logs.length };
  }

  root.t2runs = { RunsError, parseRuns, metricOf, cellsOf, errorOf };
})(typeof window === "undefined" ? globalThis : window);
