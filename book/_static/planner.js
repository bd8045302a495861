/* The planner page: reads the form and the address, asks planner-engine.js, writes the answer.
 *
 * Whatever comes from the address or a file reaches the page as text nodes and checked numbers
 * only. Laws come from scripts that t2lib.book.planner wrote (a page opened from disk may not
 * fetch), and only from those that the index names, or from a file that the reader opens. The list
 * of laws always shows the law in use; an entry that is refused leaves the last answer in place.
 */
(function () {
  "use strict";
  const box = document.getElementById("t2-planner");
  if (!box || !window.t2engine) return;
  const engine = window.t2engine, { MOST, LawError, parseLaw, text: clean } = window.t2laws;
  const { parseQuantity, round2, size2 } = window.t2units;
  const { RunsError, parseRuns, metricOf, cellsOf, errorOf } = window.t2runs;
  const $ = (id) => document.getElementById("t2-" + id);
  const LEVEL = 0.95, DEFAULT = "gemstones-arc-easy-unlisted-items", POINTS = 120;
  const OWN = ":file"; // in the list of laws: the one that was opened from a file
  const FIELDS = {
    c_train: { what: "Training budget", from: 10, to: 1e32, unit: "FLOPs" },
    c_inf: { what: "Inference budget", from: 2, to: 1e24, unit: "FLOPs" },
    c_total: { what: "Total budget", from: 10, to: 1e34, unit: "FLOPs" },
    queries: { what: "Number of questions", from: 1, to: 1e18, unit: "questions" },
    tokens: { what: "Tokens per sample", from: 1, to: 1e9, unit: "tokens" },
    months: { what: "Number of months", from: 0.1, to: 1200, unit: "months", such: "24" },
    max_n: { what: "Largest model", from: 1, to: 1e18, unit: "parameters", such: "8B" },
    max_d: { what: "Most training tokens", from: 1, to: 1e24, unit: "tokens", such: "15T" },
    max_k: { what: "Most samples", from: 1, to: 1e15, unit: "samples", such: "16" },
    my_n: { what: "Size to compare with", from: 1, to: 1e18, unit: "parameters", such: "1B" },
  };
  const MODES = { budgets: ["c_train", "c_inf"], total: ["c_total", "queries", "tokens", "months"] };
  const LIMITS = ["max_n", "max_d", "max_k", "my_n"]; // in either mode, each may be empty
  const MAY_BE_EMPTY = ["c_inf", "months", ...LIMITS];
  const GOOD = 0.05; // a loss of this share of the predicted value counts as nothing
  const laws = new Map(); // by name, once loaded: a law, or the Error that its file gave
  let index = [], devices = {}, own = null, runs = null, turn = 0, opening = 0, touched = false, answered = "";

  /* ---- numbers as text ---- */

  function size(x) {
    for (const [unit, name] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]])
      if (x >= unit * 0.99995) return plain(x / unit) + name;
    return plain(x);
  }

  /** Four digits, thousands apart, exponents only where they must be. */
  function plain(x) {
    if (x === 0 || x === 1) return String(x);
    if (x >= 1e7 || x < 1e-3) return x.toExponential(3).replace(/\.?0*e\+?/, "e");
    const digits = Number(x.toPrecision(4));
    if (digits >= 1000) return digits.toLocaleString("en-US", { maximumFractionDigits: 0 });
    return String(x.toPrecision(4));
  }

  /** A number exactly, as people type it. */
  const typed = (x) => (x < 1e5 ? String(x) : x.toExponential().replace("e+", "e"));
  const flops = (x) => (x < 1e5 ? String(x) : x.toExponential(2).replace(/\.?0*e\+?/, "e"));

  /** A number in the field's range, or an Error that says what is needed. */
  function parse(name, given) {
    const { what, from, to, unit, such } = FIELDS[name];
    const need = what + " must be a number from " + flops(from) + " to " + flops(to) + ", such as " + (such || "1e21") + ", got ";
    let x;
    try {
      x = parseQuantity(given, { unit, devices });
    } catch (error) {
      throw new Error(need + "'" + clean(given, 40) + "'. " + error.remedy);
    }
    if (!(x >= from && x <= to)) throw new Error(need + typed(x) + ".");
    return x;
  }

  /* ---- the setting: form and address ---- */

  const mode = () => (box.querySelector("input[name=t2-mode]:checked") || {}).value || "budgets";

  function readForm() {
    const values = {};
    let problem = null;
    for (const name of [...MODES[mode()], ...LIMITS]) {
      const field = $(name), empty = MAY_BE_EMPTY.includes(name) && field.value.trim() === "";
      try {
        values[name] = empty ? null : parse(name, field.value);
        field.removeAttribute("aria-invalid");
      } catch (error) {
        field.setAttribute("aria-invalid", "true");
        problem = problem || error;
      }
    }
    if (problem) throw problem;
    const limits = { maxN: values.max_n, maxD: values.max_d, maxK: values.max_k, myN: values.my_n };
    return Object.assign(limits, mode() === "budgets"
      ? { cTrain: values.c_train, cInf: values.c_inf, integerK: $("integer").checked }
      : { cTotal: values.c_total, queries: values.queries * (values.months || 1), tokens: values.tokens });
  }

  function address() {
    const q = new URLSearchParams();
    q.set("law", $("law").value === OWN ? "file" : $("law").value);
    for (const name of [...MODES[mode()], ...LIMITS])
      if ($(name).value.trim()) q.set(name, $(name).value.trim());
    if (mode() === "budgets" && $("integer").checked) q.set("integer_k", "1");
    if ($("extrapolate").checked) q.set("extrapolate", "1");
    return "#" + q.toString().replace(/\+/g, "%20").replace(/%2B/g, "+");
  }

  /** Put the address into the form; what is not valid there is left as it was and reported. */
  function readAddress() {
    const given = location.hash.slice(1);
    if (!given.includes("=")) return "";
    const q = new URLSearchParams(given.replace(/\+/g, "%2B"));
    const refused = [], said = [], law = q.get("law");
    if (index.some((entry) => entry.name === law)) $("law").value = law;
    else if (law === "file" && own) $("law").value = OWN;
    else if (law === "file")
      said.push("The link was made with a law file, which a link cannot hold: open it below. Until then another law answers.");
    else if (law !== null) refused.push("law");
    const total = q.has("c_total"), names = [...MODES[total ? "total" : "budgets"], ...LIMITS];
    $(total ? "mode-total" : "mode-budgets").checked = true;
    for (const name of names) {
      const value = q.get(name);
      if (value === null) {
        const budget = q.has("c_train") || total;
        if (budget && MAY_BE_EMPTY.includes(name)) $(name).value = "";
        continue;
      }
      try { parse(name, value); $(name).value = value; touched = true; } catch { refused.push(name); }
    }
    if (LIMITS.some((name) => $(name).value)) $("limits").open = true;
    for (const [name, box] of [["integer_k", "integer"], ["extrapolate", "extrapolate"]]) {
      const value = q.get(name);
      $(box).checked = value === "1";
      if (value !== null && value !== "0" && value !== "1") refused.push(name);
    }
    if (refused.length)
      said.unshift("The address holds no valid " + refused.join(", ") + ": the form shows another value.");
    const unused = [...new Set(q.keys())].filter((key) => !["law", "integer_k", "extrapolate", ...names].includes(key));
    if (unused.length)
      said.push("The address also holds what this setting does not use: "
        + unused.slice(0, 5).map((key) => clean(key, 20) || "?").join(", ") + ".");
    return said.join(" ");
  }

  /* ---- laws ---- */

  function script(name) {
    return new Promise((done, failed) => {
      const tag = document.createElement("script");
      tag.src = box.dataset.laws + name + ".js";
      tag.onload = done;
      tag.onerror = () => failed(new Error("The law's file could not be read beside this page."));
      document.head.append(tag);
    });
  }

  async function chosen() {
    const name = $("law").value;
    if (name === OWN && own) return own.law;
    if (!index.some((entry) => entry.name === name)) throw new Error("Choose a law.");
    if (!laws.has(name)) await script(name);
    const law = laws.get(name);
    if (law instanceof Error) throw law;
    if (!law) throw new Error("The law's file beside this page is damaged. Choose another law.");
    return law;
  }

  /** Show the task of the law in use, its other laws as alternatives, and why one is recommended. */
  function showTask() {
    const entry = index.find((other) => other.name === $("law").value);
    if (entry) $("task").value = entry.task;
    for (const group of $("law").querySelectorAll("optgroup:not([data-own])")) group.hidden = group.label !== $("task").value;
    if (!entry) { $("why").textContent = own ? "This law comes from your file. The list also holds the laws of the task above." : ""; return; }
    const error = entry.error === null ? "" : " On the checkpoints with the most tokens per parameter, held out, it was off by "
      + round2(100 * entry.error) + " % on average" + (predictsShare(entry) ? "." : " (of the NLL, whose percent are not those of pass@k).");
    $("why").textContent = entry.use ? entry.use[0].toUpperCase() + entry.use.slice(1) + "." + error : "";
  }

  const predictsShare = (entry) => !entry.label.includes("log pass@k");

  /** The law that is recommended for a task, else its first. */
  function recommended(task) {
    const entries = index.filter((entry) => entry.task === task);
    return (entries.find((entry) => entry.recommended) || entries[0] || index[0]).name;
  }

  /** What the list of laws says of the one in use. */
  function label() {
    const option = $("law").selectedOptions[0];
    return option ? option.dataset.label || option.textContent : "no law";
  }

  window.t2planner = {
    index(body) {
      index = body.laws;
      devices = body.devices || {};
      const grouped = (entries, group, option) => {
        const groups = new Map();
        for (const entry of entries) {
          if (!groups.has(entry[group])) {
            groups.set(entry[group], document.createElement("optgroup"));
            groups.get(entry[group]).label = entry[group];
          }
          groups.get(entry[group]).append(option(entry));
        }
        return groups.values();
      };
      const tasks = index.filter((entry, i) => index.findIndex((other) => other.task === entry.task) === i);
      $("task").replaceChildren(...grouped(tasks, "group", (entry) => new Option(entry.task, entry.task)));
      const laws = [...index].sort((a, b) => b.recommended - a.recommended);
      $("law").replaceChildren(...grouped(laws, "task", (entry) => {
        const option = new Option(entry.label.slice(entry.task.length + 2) + (entry.recommended ? ", recommended" : ""), entry.name);
        option.dataset.label = entry.label;
        return option;
      }));
      if (index.some((entry) => entry.name === DEFAULT)) $("law").value = DEFAULT;
      if (body.left_out.length)
        $("left-out").textContent = body.left_out.length + " more shipped laws are of kinds that only `t2 plan` computes.";
    },
    law(state) {
      try { laws.set(state.name, engine.readLaw(state, state.name)); } catch (error) { laws.set(state.name, error); }
    },
  };

  /* ---- the answer ---- */

  const predicts = (law) => law.sense > 0
    ? (law.usesK ? "mean −log pass@k (nats)" : "loss (nats)") : "pass@k";

  function cell(row, text, exact) {
    const td = document.createElement("td");
    td.textContent = text;
    if (exact !== undefined) td.dataset.value = String(exact);
    row.append(td);
    return td;
  }

  const ROWS = [
    ["N", "N, parameters", size2], ["D", "D, training tokens", size2],
    ["k", "k, samples per question", round2], ["ratio", "D/N, tokens per parameter", round2],
    ["value", null, round2], ["share", "share of the budget for training", round2],
  ];

  function table(law, best, other, ends, otherEnds) {
    const body = $("answer");
    const rows = ROWS.filter(([name]) => best[name] !== undefined).map(([name, label, show]) => {
      const row = document.createElement("tr"), head = document.createElement("th");
      row.dataset.row = name;
      head.scope = "row";
      head.textContent = label || "predicted " + predicts(law);
      row.append(head);
      cell(row, show(best[name]), best[name]).className = "t2-best";
      const range = cell(row, ends && ends[name] ? show(ends[name][0]) + " to " + show(ends[name][1])
        : law.replicates && !ends ? "…" : "none");
      if (ends && ends[name]) { range.dataset.lo = String(ends[name][0]); range.dataset.hi = String(ends[name][1]); }
      const plainCell = cell(row, other && other[name] !== undefined ? show(other[name]) : "–");
      if (name === "value" && otherEnds)
        plainCell.textContent += " (" + show(otherEnds[0]) + " to " + show(otherEnds[1]) + ")";
      return row;
    });
    body.replaceChildren(...rows);
  }

  /** The size that training alone would choose, sampled with this setting's inference budget. */
  function compared(law, setting, single) {
    if (given(setting.myN)) {
      const mine = engine.atSize(law, setting, setting.myN);
      if (!mine) throw new Error("Size to compare with must be affordable, got " + size(setting.myN) + ". Raise the budget, or compare with a smaller model.");
      return mine;
    }
    return chinchilla(law, setting, single);
  }

  const given = (x) => x !== undefined && x !== null;

  function chinchilla(law, setting, single) {
    if (setting.cTotal !== undefined || setting.cInf === null) return single;
    const most = setting.cInf / (2 * single.N);
    if (most < 1) return null;
    const k = !law.usesK ? 1 : given(setting.maxK) ? Math.min(most, setting.maxK) : most;
    return Object.assign({}, single, {
      k, value: law.value(single.N, single.D, k), beyond: engine.extrapolation(law, Object.assign({}, single, { k })),
    });
  }

  const STATUS = {
    at_bound: "at a limit", not_identified: "not identified", not_converged: "not converged",
    did_not_move: "where its search began",
  };
  const NAMES = { N: "N", D: "D", k: "k", tokens_per_param: "tokens per parameter", C_train: "training compute" };
  const shownAs = { N: size2, D: size2, k: round2, tokens_per_param: round2, C_train: round2 };

  /** Why a plan is refused, each a sentence. */
  function refusals(law, best, { reasons }) {
    return reasons.map((reason) => {
      if (reason.kind === "fit") return "The fit is " + (STATUS[law.status.code] || "not a plain one") + ": " + law.status.message;
      if (reason.kind === "toy") return "The law was fitted to toy models of at most " + size2(law.domain.N[1]) + " parameters and says nothing about a budget of " + round2(reason.value) + " FLOPs.";
      if (reason.kind === "guess") return "Guessing reaches more: a list of the " + round2(best.k) + " most frequent answers solves " + round2(reason.chance) + " of the questions unread, and this plan " + round2(best.value) + ".";
      const end = law.domain[reason.name][reason.high ? 1 : 0], show = shownAs[reason.name];
      return NAMES[reason.name] + " = " + show(reason.value) + " is " + (reason.high ? round2(reason.factor) + " times the largest"
        : "1/" + round2(reason.factor) + " of the smallest") + " that the law was fitted to (" + show(end) + ").";
    });
  }

  /** What a measured checkpoint reaches, and what the law says there. */
  function measuredAs(law, row) {
    const error = row.se === null ? "" : " ± " + Number(row.se.toPrecision(1));
    return size2(row.N) + " parameters on " + size2(row.D) + " tokens, measures " + predicts(law).replace("@k", "@" + round2(row.k))
      + " = " + round2(row.value) + error + "; the law says " + round2(row.law) + " there.";
  }

  const METRICS = { accuracy: "pass@k", nll: "mean −log pass@k", loss: "losses" };

  /** What the reader's own checkpoints say of the law in use, and which lies nearest to the plan. */
  function ofRuns(law, best) {
    const cells = cellsOf(law, runs.table);
    if (!cells) return ["Your checkpoints are not compared: they hold " + METRICS[runs.table.metric] + ", and this law predicts " + METRICS[metricOf(law)] + "."];
    const out = [], error = errorOf(law, runs.table);
    if (error) out.push("On your " + cells.length + (cells.length === 1 ? " checkpoint" : " checkpoints") + " this law is off by "
      + (error.factor < 1.05 ? round2(100 * (error.factor - 1)) + " %" : "a factor of " + round2(error.factor)) + " on average, in the median "
      + round2(100 * Math.abs(error.bias)) + " % too " + (error.bias < 0 ? "low" : "high") + "."
      + (error.factor > 1.5 ? " It is no law of your models: fit one of your own." : ""));
    const [near] = engine.nearest(withCells(law, cells), best, 1);
    const far = ["N", "D"].map((name) => Math.max(near[name] / best[name], best[name] / near[name]));
    out.push("Of your checkpoints the nearest, " + measuredAs(law, near).replace(/\.$/, "")
      + (Math.max(...far) > 1.5 ? "; it lies a factor of " + round2(far[0]) + " in N and of " + round2(far[1]) + " in D from this plan." : "."));
    return out;
  }

  const withCells = (law, cells) => Object.assign({}, law, { evidence: { cells } });

  function notes(law, best, setting, other, verdict, trouble) {
    const out = refusals(law, best, verdict), refused = verdict.reasons.map((reason) => reason.name);
    for (const [name, factor] of Object.entries(best.beyond))
      if (!refused.includes(name)) out.push(NAMES[name] + " is " + (factor > 1 ? round2(factor) + " times the largest"
        : round2(factor) + " of the smallest") + " value that the law was fitted to: a forecast.");
    if (!Object.keys(best.beyond).length) out.push("Everything lies inside the measured range: the law interpolates.");
    const [near] = verdict.nearest;
    if (near && near.value !== null) out.push("The nearest measured model, " + measuredAs(law, near));
    if (runs) out.push(...ofRuns(law, best));
    if (verdict.turned)
      out.push("The measured run nearest in size, " + verdict.turned.group + " with " + size2(verdict.turned.N) + " parameters, was best at "
        + size2(verdict.turned.best) + " tokens and significantly worse later; this plan trains on " + size2(best.D) + ".");
    if (verdict.chance !== null && !refused.includes(undefined) && verdict.chance > 0)
      out.push("A list of the " + round2(best.k) + " most frequent answers, which reads no question, solves " + round2(verdict.chance) + ".");
    if (law.evidence && law.evidence.unlisted)
      out.push("Only questions count whose answer no list of training answers holds: guessing by frequency solves none of them.");
    if (verdict.slope !== null && verdict.slope < 0.5)
      out.push("Twice the samples multiply pass@k by " + round2(2 ** verdict.slope) + " here: extra samples of a small model buy little.");
    if (law.evidence && law.evidence.heldOut && Math.abs(law.evidence.heldOut.bias) >= 0.1)
      out.push("On checkpoints that the fit did not see, the law predicted " + round2(1 + law.evidence.heldOut.bias) + " times what was measured (median).");
    if (!law.evidence) out.push("This law does not say what it was fitted to, so it cannot be compared with measured models. Fit it again with this version of t2lib.");
    else if (law.evidence.runs < 20) out.push("The law stands on " + law.evidence.runs + " independent training runs: too few for its intervals to be wide enough.");
    if (verdict.toy && !verdict.reasons.some((reason) => reason.kind === "toy")) out.push("All models behind this law are toys with less than 1M parameters.");
    const bounds = {
      "k=1": "The budget pays for one sample at this N, and no second one is worth its price.",
      flat: "The law is flat around this optimum: N is the middle of a range.",
      lower: "The optimum sits at the lower end of the search range for N.",
      upper: "The optimum sits at the upper end of the search range for N.",
      max_N: "Your limit on the size decides: a larger model would be better.",
      max_D: "Your limit on training tokens decides: what it leaves of the budget is not spent, or goes to samples.",
      max_k: "Your limit on samples decides: what it leaves of the budget is not spent, or goes to training.",
    };
    if (best.bound) out.push(bounds[best.bound]);
    if (!other) out.push("The size that training alone would choose costs more than this C_inf for a single sample.");
    if (law.status.code === "at_bound") out.push("The fit is at a limit: " + law.status.message);
    if (!law.replicates) out.push("No intervals: the law was saved without bootstrap.");
    if (trouble) out.push("No intervals: " + trouble);
    if (!law.usesK && setting.cTotal === undefined && setting.cInf !== null)
      out.push("This law knows one sample only: C_inf limits N and buys nothing else.");
    $("notes").replaceChildren(...out.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
  }

  /** A file's name as a shell takes it. */
  const quoted = (name) => (/^[\w.\/-]+$/.test(name) && !name.startsWith("-") ? name : "'" + name.replace(/'/g, "'\\''") + "'");

  function command(setting) {
    const words = ["t2 plan --law " + ($("law").value === OWN ? quoted(own.file) : $("law").value)];
    for (const name of MODES[mode()]) {
      const flag = name === "tokens" ? "--tokens-per-sample" : "--" + name.replace("_", "-");
      const value = name === "queries" ? setting.queries : $(name).value.trim() && parse(name, $(name).value);
      if (value && name !== "months") words.push(flag + " " + typed(value));
    }
    for (const [flag, value] of [["--max-params", setting.maxN], ["--max-tokens", setting.maxD], ["--max-k", setting.maxK]])
      if (given(value)) words.push(flag + " " + typed(value));
    if (setting.integerK) words.push("--integer-k");
    if ($("extrapolate").checked) words.push("--extrapolate");
    $("command").textContent = words.join(" ");
  }

  function sentence(law, best, single, setting) {
    const [from, to] = engine.goodEnough(law, setting, best, GOOD);
    const ends = [from, to].filter((end) => end.open).length ? " (further is not affordable, or not searched)" : "";
    const text = "Any size from " + size2(from.N) + " to " + size2(to.N) + " parameters loses less than "
      + 100 * GOOD + " % of the predicted value" + ends + ". The best is " + size2(best.N)
      + " parameters on " + size2(best.D) + " tokens (" + round2(best.ratio) + " per parameter), with "
      + round2(best.k) + (best.k === 1 ? " sample" : " samples") + " per question. For one sample it would be "
      + size2(single.N) + " parameters and " + round2(single.ratio) + " tokens per parameter.";
    $("sentence").textContent = text;
  }

  /* ---- the curve ---- */

  const NS = "http://www.w3.org/2000/svg";
  function draw(parent, tag, attributes, text) {
    const node = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  }

  /** A phone gets a narrower drawing, so that its letters are as large as the page's. */
  const phone = matchMedia("(max-width: 600px)"), width = () => (phone.matches ? 440 : 640);

  /** One panel: the curve (solid where measured, dashed beyond), its band, its optimum. */
  function panel(svg, top, law, points, marks, title, range, domain, bands, rows) {
    const W = width(), L = 70, R = 14, H = 170, right = W - R, bottom = top + H;
    const mine = (rows || []).mine || [];
    const values = points.map((p) => p.value).concat(mine.map((row) => row.value), marks.map((m) => m.at.value), (rows || []).map((row) => row.value));
    const [low, high] = engine.span(values.concat(...(bands || [])), law.sense, marks[0].at.value);
    const a = Math.log(range[0]), b = Math.log(range[1]);
    const X = (N) => L + ((Math.log(N) - a) / (b - a)) * (right - L);
    // A little beyond the frame is enough for the clip to cut a steep line where it leaves.
    const Y = (v) => bottom - Math.min(Math.max((v - low) / (high - low), -1), 3) * H;
    const g = draw(svg, "g", title.endsWith("one sample per question") ? { class: "t2-single" } : {});
    const clip = draw(g, "clipPath", { id: "t2-clip-" + top });
    draw(clip, "rect", { x: L, y: top, width: right - L, height: H });
    const inside = draw(g, "g", { "clip-path": `url(#t2-clip-${top})` });
    const d0 = Math.max(domain[0], range[0]), d1 = Math.min(domain[1], range[1]);
    if (d1 > d0) draw(inside, "rect", { x: X(d0), y: top, width: X(d1) - X(d0), height: H, class: "t2-measured" });
    draw(g, "path", { d: `M${L} ${top}V${bottom}H${right}`, class: "t2-axis" });
    for (const N of engine.decades(range[0], range[1])) {
      const x = X(N);
      draw(g, "path", { d: `M${x} ${bottom}v5`, class: "t2-axis" });
      draw(g, "text", { x, y: bottom + 19, "text-anchor": "middle" }, N < 1e15 ? size(N).replace(/\.0+(?=\D|$)/, "") : plain(N));
    }
    for (const v of engine.ticks(low, high)) {
      draw(g, "path", { d: `M${L} ${Y(v)}h-5`, class: "t2-axis" });
      draw(g, "text", { x: L - 8, y: Y(v) + 4, "text-anchor": "end" }, String(Number(v.toPrecision(6))));
    }
    draw(g, "text", { x: L + 6, y: top - 7, class: "t2-title" }, title);
    if (bands && bands.length > 1) {
      const up = points.map((p, i) => `${X(p.N).toFixed(1)} ${Y(bands[i][1]).toFixed(1)}`);
      const down = points.map((p, i) => `${X(p.N).toFixed(1)} ${Y(bands[i][0]).toFixed(1)}`).reverse();
      draw(inside, "path", { d: "M" + up.concat(down).join("L") + "Z", class: "t2-band" });
    }
    for (const known of [true, false]) {
      let d = "", pen = "M";
      const at = (p) => `${X(p.N).toFixed(1)} ${Y(p.value).toFixed(1)}`;
      for (let i = 0; i + 1 < points.length; i++) {
        const wanted = measured(points[i]) === known;
        if (wanted) d += (pen === "M" ? "M" + at(points[i]) : "") + "L" + at(points[i + 1]);
        pen = wanted ? "L" : "M";
      }
      if (d) draw(inside, "path", { d, class: known ? "t2-curve" : "t2-curve t2-beyond" });
    }
    for (const row of rows || []) {
      const x = X(row.N), y = Y(row.value), error = 2 * (row.se || 0);
      if (error) draw(inside, "path", { d: `M${x} ${Y(row.value - error)}V${Y(row.value + error)}`, class: "t2-error-bar" });
      const mark = draw(inside, "path", { d: `M${x - 4} ${y - 4}h8v8h-8Z`, class: "t2-mark t2-square" });
      draw(mark, "title", {}, `measured: N = ${size2(row.N)}, D = ${size2(row.D)}, ${predicts(law)} ${round2(row.value)}`);
    }
    for (const row of mine) {
      const x = X(row.N), y = Y(row.value);
      const mark = draw(inside, "path", { d: `M${x} ${y - 7}l7 12h-14Z`, class: "t2-mark t2-triangle" });
      draw(mark, "title", {}, `yours: N = ${size2(row.N)}, D = ${size2(row.D)}, ${predicts(law)} ${round2(row.value)}`);
    }
    for (const { at, shape, label } of marks) {
      const x = X(at.N), y = Y(at.value);
      const d = shape === "circle" ? `M${x - 6} ${y}a6 6 0 1 0 12 0a6 6 0 1 0 -12 0` : `M${x} ${y - 8}l7 8l-7 8l-7 -8Z`;
      const mark = draw(g, "path", { d, class: "t2-mark t2-" + shape });
      draw(mark, "title", {}, `${label}: N = ${size(at.N)}, ${predicts(law)} ${plain(at.value)}`);
    }
    return bottom;
  }

  const measured = (p) => Object.keys(p.beyond).length === 0;
  /** The sizes that the figure shows: curves of the budgets and of one sample, from lo to hi. */
  function curves(law, setting, best, single) {
    const sizes = [best.N, single.N];
    const lo = Math.max(Math.min(...sizes) / 30, 1), hi = Math.max(...sizes) * 30;
    const alone = Object.assign({}, setting, setting.cTotal === undefined ? { cInf: null } : {});
    const many = engine.isoflop(law, setting, lo, hi, POINTS, false).filter(drawable);
    const one = engine.isoflop(law, alone, lo, hi, POINTS, true).filter(drawable);
    const top = Math.max(...sizes, ...many.map((p) => p.N), ...one.map((p) => p.N));
    return { many, one, range: [lo, Math.max(Math.min(hi, top), lo * 1.01)] };
  }

  const drawable = (p) => Number.isFinite(p.value);

  function plot(law, setting, best, single, other, { many, one, range }, bands) {
    const svg = $("plot");
    svg.replaceChildren();
    const marks = [{ at: best, shape: "circle", label: "T² optimum" }];
    const plainMark = { at: single, shape: "diamond", label: "best for one sample" };
    const rows = engine.measuredBeside(law, setting, best).filter((row) => row.N >= range[0] && row.N <= range[1]);
    const cells = runs ? cellsOf(law, runs.table) : null;
    rows.mine = cells ? engine.measuredBeside(withCells(law, cells), setting, best).filter((row) => row.N >= range[0] && row.N <= range[1]) : [];
    $("runs-key").hidden = !rows.mine.length;
    const samples = law.usesK && (setting.cTotal !== undefined || setting.cInf !== null);
    if (!samples) {
      svg.setAttribute("viewBox", `0 0 ${width()} 240`);
      axis(svg, panel(svg, 26, law, many, [{ at: best, shape: "circle", label: "optimum" }], predicts(law) + ", one sample per question", range, law.domain.N, bands, rows));
    } else {
      if (other && drawable(other) && setting.cTotal === undefined) marks.push({ at: other, shape: "diamond", label: given(setting.myN) ? "your size" : "size that is best for one sample, with this budget's samples" });
      svg.setAttribute("viewBox", `0 0 ${width()} 465`);
      panel(svg, 26, law, many, marks, predicts(law) + ", with the budget's samples", range, law.domain.N, bands, rows);
      axis(svg, panel(svg, 251, law, one, [plainMark], predicts(law).replace("@k", "@1") + ", one sample per question", range, law.domain.N, null));
    }
    const caption = "Predicted " + predicts(law) + " of models that cost the same, against N"
      + (bands ? ", with the 95 % interval of the law." : ".");
    $("plot-title").textContent = caption;
    svg.setAttribute("aria-label", caption + " " + $("sentence").textContent);
  }

  function axis(svg, bottom) {
    draw(svg, "text", { x: (width() + 56) / 2, y: bottom + 38, "text-anchor": "middle" }, "N, parameters (shaded: measured sizes)");
  }

  /* ---- running ---- */

  /** The last answer, if there is one, stays in place and says which setting it is of. */
  function refuse(error) {
    $("error").textContent = error.message;
    box.dataset.state = "error";
    $("result").dataset.stale = "true";
    $("of").textContent = answered && "Not updated. What follows is the last answer: " + answered;
    $("result").hidden = !answered;
  }

  async function update() {
    const mine = ++turn;
    box.dataset.state = "working";
    showTask();
    let law, setting, best, single, other, lines, verdict;
    try {
      law = await chosen();
      if (mine !== turn) return;
      setting = readForm();
      best = engine.allocate(law, setting);
      verdict = engine.judge(law, best);
      if (verdict.reasons.length && !$("extrapolate").checked)
        throw new Error("This plan is none to act on. " + refusals(law, best, verdict).join(" ")
          + " Choose a budget inside the data of the law, or another law; or tick “forecast all the same”.");
      single = engine.oneSample(law, setting);
      other = compared(law, setting, single);
      lines = curves(law, setting, best, single);
    } catch (error) {
      if (mine === turn) refuse(error);
      return;
    }
    answered = label() + "; " + [...MODES[mode()], ...LIMITS].filter((name) => $(name).value.trim())
      .map((name) => name.replace(/^c_/, "C_") + " = " + $(name).value.trim()).join(", ") + ".";
    $("error").textContent = "";
    $("of").textContent = "Law: " + label() + ".";
    delete $("result").dataset.stale;
    $("result").hidden = false;
    sentence(law, best, single, setting);
    $("other-head").textContent = given(setting.myN) ? "your " + size2(setting.myN) : "size best for one sample";
    table(law, best, other, null, null);
    notes(law, best, setting, other, verdict);
    command(setting);
    plot(law, setting, best, single, other, lines, null);
    try { history.replaceState(null, "", address()); } catch { /* browsers limit how often */ }
    if (!law.replicates) { box.dataset.state = "done"; return; }
    const steps = withBands(law, setting, best, lines.many);
    const run = () => {
      if (mine !== turn) return;
      const until = performance.now() + 30;
      let step;
      try {
        do step = steps.next(); while (!step.done && performance.now() < until);
        if (!step.done) { setTimeout(run); return; }
        const [ends, bands] = step.value;
        table(law, best, other, ends, other && engine.valueInterval(law, other, LEVEL));
        plot(law, setting, best, single, other, lines, bands);
      } catch (error) { // the answer stands without them
        table(law, best, other, {}, null);
        notes(law, best, setting, other, verdict, error.message);
      }
      box.dataset.state = "done";
    };
    setTimeout(run, 60);
  }

  /** Intervals of the optimum, then of the curve, a replicate or a point at a time. */
  function* withBands(law, setting, best, points) {
    const ends = yield* engine.intervals(law, setting, best, LEVEL);
    return [ends, yield* engine.bands(law, points, LEVEL)];
  }

  /** Budgets of the law's own size, for as long as nobody typed others. */
  async function suggest() {
    const start = startOf(await chosen());
    for (const [name, value] of Object.entries(start)) $(name).value = typed(value);
  }

  /** As far as was measured with ten samples of the largest model, or less: the largest budget whose
   *  plan the law knows about. */
  function startOf(law) {
    const N = law.domain.N[1], D = law.domain.D[1];
    const at = (share) => {
      const start = { c_train: 6 * N * D * share, c_inf: 20 * N, c_total: 60 * N * D * share };
      for (const name of Object.keys(start)) start[name] = Number(Math.min(start[name], FIELDS[name].to).toPrecision(1));
      return start;
    };
    for (const share of [1, 0.3, 0.1, 0.03, 0.01, 0.003]) {
      const start = at(share);
      try {
        const best = engine.allocate(law, { cTrain: start.c_train, cInf: start.c_inf });
        if (!engine.judge(law, best).reasons.length) return start;
      } catch { /* the next budget may do */ }
    }
    return at(0.1);
  }

  function show() {
    for (const name of Object.keys(MODES)) $("fields-" + name).hidden = mode() !== name;
    update();
  }

  /** Open a law file. One that is refused changes nothing: law and answer stay. */
  async function openFile(event) {
    const field = event.target, file = field.files[0], mine = ++opening;
    if (!file) return;
    const name = clean(file.name, 80) || "your file";
    let law;
    try {
      if (file.size > MOST.bytes)
        throw new LawError(`A law file must be at most ${MOST.bytes / 1e6} MB, got ${Math.ceil(file.size / 1e6)} MB.`);
      law = parseLaw(await file.text(), name);
    } catch (error) {
      if (mine !== opening) return;
      field.value = ""; // a name beside numbers that are not its own misleads
      const why = error instanceof LawError ? error.message : "The file could not be read.";
      say(name + " was not opened. " + why + " The law in use is still " + label() + ".", true);
      return;
    }
    if (mine !== opening) return;
    field.value = ""; // so that the same file can be opened again
    own = { law, file: name };
    const group = $("law").querySelector("optgroup[data-own]") || document.createElement("optgroup");
    group.label = "Your file";
    group.dataset.own = "true";
    group.replaceChildren(new Option("Your law: " + name, OWN));
    $("law").prepend(group);
    $("law").value = OWN;
    if (!touched) await suggest();
    say("Opened " + name + ". It stands first in the list of laws.", false);
    show();
  }

  function say(message, refused, place = "own-name") {
    $(place).textContent = message;
    $(place).classList.toggle("t2-refused", refused);
    if (refused) $(place).closest("details").open = true;
  }

  /** Open a table of checkpoints. One that is refused changes nothing. */
  async function openRuns(event) {
    const field = event.target, file = field.files[0];
    if (!file) return;
    let content;
    try { content = file.size > 2e6 ? "x".repeat(2e6 + 1) : await file.text(); } catch { content = ""; }
    field.value = "";
    takeRuns(content, clean(file.name, 80) || "your file");
  }

  /** Take a table into the answer; an empty text takes it out again. */
  function takeRuns(content, name) {
    if (!content.trim() && name === "the pasted lines") {
      runs = null;
      say("", false, "runs-name");
      update();
      return;
    }
    try {
      runs = { table: parseRuns(content, devices), name };
    } catch (error) {
      const why = error instanceof RunsError ? error.message : "The table could not be read.";
      say(name + ": " + why + (runs ? " The checkpoints of " + runs.name + " stay." : ""), true, "runs-name");
      return;
    }
    const { rows, dropped, metric } = runs.table;
    say("Read " + rows.length + (rows.length === 1 ? " line of " : " lines of ") + METRICS[metric] + " from " + name
      + (dropped ? ", " + dropped + " without a value or not finished left out." : "."), false, "runs-name");
    update();
  }

  async function start() {
    await script("index");
    const refused = readAddress();
    if (!touched && !refused && location.hash.includes("=")) await suggest();
    box.addEventListener("input", async (event) => {
      if (["t2-file", "t2-runs"].includes(event.target.id)) return;
      if (event.target.id === "t2-runs-text") { takeRuns(event.target.value, "the pasted lines"); return; }
      if (event.target.id === "t2-task") $("law").value = recommended($("task").value);
      if (["t2-law", "t2-task"].includes(event.target.id)) {
        say("", false);
        box.dataset.state = "working"; // the answer shown is of the last law until this one is there
        if (!touched) await suggest().catch(() => {}); // what is wrong with a law, the answer says
      } else if (event.target.autocomplete === "off") touched = true;
      $("address").textContent = $("notice").textContent = "";
      show();
    });
    $("file").addEventListener("change", openFile);
    $("runs").addEventListener("change", openRuns);
    phone.addEventListener("change", update);
    $("form").addEventListener("submit", (event) => event.preventDefault());
    $("share").addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(location.href);
        $("address").textContent = "Copied. The link opens this setting.";
      } catch {
        $("address").textContent = location.href;
      }
    });
    window.addEventListener("hashchange", () => { $("notice").textContent = readAddress(); show(); });
    $("notice").textContent = refused;
    show();
  }

  start().catch((error) => { $("error").textContent = error.message; box.dataset.state = "error"; });
})();
