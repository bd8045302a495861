/* The planner's laws: what a law file says, checked field by field, as functions of N, D and k.
 *
 * A law arrives as the JSON that law.to_json() writes, or in the compact form of
 * t2lib.book.planner (bootstrap columns in base64). Nothing of a file is used before it was
 * checked: types, signs, sizes, lengths. Nothing here touches the page.
 */
(function (root) {
  "use strict";

  /* ---- pass@k ---- */

  const LOG_HALF = -Math.LN2;
  const LIFT = 12;
  const STIRLING = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156];

  /** Mean of 1 − (1 − p)^k over p ~ Beta(μν, (1 − μ)ν); see t2lib.passk.beta_pass_at_k. */
  function betaPassAtK(mean, nu, k) {
    const a = mean * nu, b = (1 - mean) * nu;
    const ab = b + a, bk = b + k, tiny = 2.2250738585072014e-308;
    let hit = (a / Math.max(ab, tiny)) * (k / bk);
    for (let i = 1; i < LIFT; i++) hit += (a / (ab + i)) * (k / (bk + i)) * (1 - hit);
    const x = b + LIFT, xa = x + a, xk = x + k, xak = x + a + k;
    const w = (a / xa) * (k / xk);
    const cross = w > 0.5 ? Math.log((x / xa) * (xak / xk)) : Math.log1p(-w);
    let delta = (x - 0.5) * cross + a * Math.log1p(k / xa) + k * Math.log1p(a / xk);
    delta += a * (slope(1 / x, 1 / xa) - slope(1 / xk, 1 / xak));
    return hit + (1 - hit) * -Math.expm1(-Math.max(delta, 0));
  }

  /** u·v times the divided difference of Stirling's tail. */
  function slope(u, v) {
    const y = u * u, z = v * v, last = STIRLING.length - 1;
    let ty = STIRLING[last], tz = ty, diff = 0;
    for (let i = last - 1; i >= 0; i--) {
      diff = diff * y + tz;
      ty = ty * y + STIRLING[i];
      tz = tz * z + STIRLING[i];
    }
    return u * v * (ty + v * (u + v) * diff);
  }

  /** 1 − (1 − p)^k from log p. */
  function passAtK(logp, k, logk) {
    if (k === 1) return Math.exp(logp);
    if (logp < -700) return -Math.expm1(-Math.exp(logp + logk));
    const logq = logp > LOG_HALF ? Math.log(-Math.expm1(logp)) : Math.log1p(-Math.exp(logp));
    return -Math.expm1(k * logq);
  }

  /* ---- laws: each kind turns parameters into a function of N, D, k ---- */

  function powerLaw(p, terms) {
    const parts = terms.map(([c, byN, byD, byK]) => [
      Math.log(p[c]), byN ? byN(p) : 0, byD ? byD(p) : 0, byK ? byK(p) : 0,
    ]);
    return (N, D, k) => {
      const n = Math.log(N), d = Math.log(D), lk = Math.log(k);
      let value = p.E;
      for (const [c, a, b, g] of parts) value += Math.exp(c + a * n + b * d + g * lk);
      return value;
    };
  }

  const chinchilla = (p) => powerLaw(p, [
    ["A", (q) => -q.alpha],
    ["B", null, (q) => -q.beta],
  ]);
  const interaction = (p) => powerLaw(p, [
    ["A", (q) => -q.alpha],
    ["B", (q) => q.b_prime, (q) => -q.beta],
  ]);

  function accuracyLaw(p) {
    const loss = chinchilla(p), low = Math.log(1e-9), high = Math.log(1e15);
    return (N, D, k) => {
      const L = loss(N, D, 1);
      const mean = p.theta2 / (1 + Math.exp(p.theta1 * (L - p.theta0)));
      const power = Math.min(Math.max(p.theta3 + p.theta4 * L, low), high);
      return betaPassAtK(Math.max(mean, 1e-300), Math.exp(power), k);
    };
  }

  function countLaw(p) {
    const loss = interaction(p);
    return (N, D, k) => {
      const odds = Math.min(Math.max(loss(N, D, 1), -40), 40), mean = 1 / (1 + Math.exp(odds));
      const a = Math.exp(Math.min(Math.max(p.theta0 - p.theta1 * odds, -7), 7));
      return betaPassAtK(mean, a / mean, k);
    };
  }

  /** Rank bins of an ItemLaw: share of items in each, and the hat functions of its nodes there. */
  function itemBins(options) {
    const n = options.n_items, J = options.n_nodes, count = 48;
    const half = geomspace(1, n / 2 + 1, count).map((x) => x - 1);
    const edges = [...new Set([...half, ...half.map((x) => n - x)].map(roundEven))];
    edges.sort((a, b) => a - b);
    const share = geomspace(0.5 / n, 0.5, J - 3).concat([0.75, 0.9, 0.97]);
    const nodes = share.map((s) => Math.log(s / (1 - s)));
    const bins = [];
    for (let i = 0; i + 1 < edges.length; i++) {
      const size = edges[i + 1] - edges[i], middle = edges[i] + size / 2;
      const x = Math.log(middle / (n - middle));
      let j = 0;
      while (j < J - 2 && x > nodes[j + 1]) j++;
      const t = Math.min(Math.max((x - nodes[j]) / (nodes[j + 1] - nodes[j]), 0), 1);
      bins.push({ share: size / n, node: j, t });
    }
    return bins;
  }

  const nodeNames = (count) => ["level", "slope"].flatMap((kind) =>
    Array.from({ length: count }, (_, j) => kind + "_" + String(j).padStart(2, "0")));

  function itemLaw(p, options, bins) {
    const loss = interaction(p), names = nodeNames(options.n_nodes), J = options.n_nodes;
    const between = (first, b) =>
      p[names[first + b.node]] * (1 - b.t) + p[names[first + b.node + 1]] * b.t;
    const level = bins.map((b) => between(0, b)), rise = bins.map((b) => between(J, b));
    const share = bins.map((b) => b.share);
    return (N, D, k) => {
      const L = loss(N, D, 1), logk = Math.log(k);
      let sum = 0;
      for (let i = 0; i < share.length; i++)
        sum += share[i] * passAtK(Math.min(level[i] + rise[i] * L, -1e-9), k, logk);
      return sum;
    };
  }

  const SUM = ["E", "A", "alpha", "B", "beta"], BENT = ["E", "A", "alpha", "B", "b_prime", "beta"];
  const KINDS = {
    chinchilla: { sense: 1, usesK: false, names: SUM, make: chinchilla },
    interaction: { sense: 1, usesK: false, names: BENT, make: interaction },
    loss: {
      sense: 1, usesK: true, names: [...SUM, "G", "gamma"],
      make: (p) => powerLaw(p, [
        ["A", (q) => -q.alpha],
        ["B", null, (q) => -q.beta],
        ["G", null, null, (q) => -q.gamma],
      ]),
    },
    accuracy: {
      sense: -1, usesK: true, names: [...SUM, "theta0", "theta1", "theta2", "theta3", "theta4"],
      make: accuracyLaw,
    },
    items: { sense: -1, usesK: true, names: BENT, make: itemLaw },
    counts: { sense: -1, usesK: true, names: [...BENT, "theta0", "theta1"], make: countLaw },
  };

  /* ---- reading ---- */

  // More than any fit writes: files beyond it are refused before they are read.
  const MOST = { bytes: 16e6, replicates: 20000, text: 400, items: 1e9, cells: 20000 };
  const SIZES = { N: [1, 1e18], D: [1, 1e24], k: [1, 1e15], tokens_per_param: [1e-18, 1e24] };
  const SCALES = ["A", "B", "G"]; // factors of power laws: a logarithm is taken

  const owns = (object, key) => Object.prototype.hasOwnProperty.call(object, key);
  const plainObject = (x) => typeof x === "object" && x !== null && !Array.isArray(x);
  const short = (x) => (x >= 1e-3 && x < 1e6 ? String(x) : x.toExponential().replace("+", ""));
  const finite = (x) => typeof x === "number" && Number.isFinite(x);
  const positive = (x) => finite(x) && x > 0;

  /** What a value looks like, in at most a few words. */
  function shown(x) {
    if (x === undefined) return "none";
    if (Array.isArray(x)) return "a list of " + x.length;
    if (typeof x === "object" && x !== null) return "an object";
    return typeof x === "string" ? "'" + text(x, 30) + "'" : text(String(x), 30);
  }

  /** Text of a file for the page: one line, no control characters, not longer than `most`. */
  function text(x, most = MOST.text) {
    if (typeof x !== "string") return "";
    const flat = x.slice(0, 2 * most).replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\s]+/g, " ").trim();
    return flat.length > most ? flat.slice(0, most - 1) + "…" : flat;
  }

  class LawError extends Error {}
  function fail(what, need, got, remedy = "Write the file again with law.to_json(path).") {
    throw new LawError(`This is not a law of this version of t2lib: ${what} must be ${need}, got ${shown(got)}. ${remedy}`);
  }

  /** Law in the text of a file; throws an Error that says what is wrong. */
  function parseLaw(content, name) {
    if (content.length > MOST.bytes)
      throw new LawError(`A law file must be at most ${MOST.bytes / 1e6} MB. Fit with fewer replicates.`);
    let state;
    try {
      state = JSON.parse(content);
    } catch {
      const table = /^[^\n{[]*[,;\t][^\n]*\n/.test(content.slice(0, 4000));
      throw new LawError(table
        ? "This is a table, not a law (not JSON). Fit a law to it first: `t2 fit --help` says how."
        : "This file is not JSON. A law is what `t2 fit … --out law.json` or law.to_json(path) writes.");
    }
    return readLaw(state, name);
  }

  /** Check a law's JSON and make it usable; throws an Error that says what is wrong. */
  function readLaw(state, name) {
    if (!plainObject(state)) fail("it", "a JSON object", state);
    if (state.format !== 1) fail("format", "1", state.format, "Another version wrote it: fit again with this one.");
    const known = Object.keys(KINDS);
    if (typeof state.kind !== "string" || !owns(KINDS, state.kind))
      fail("kind", "one of " + known.join(", "), state.kind, "This planner does not know its kind: `t2 plan` may.");
    const kind = KINDS[state.kind];
    const { options, bins } = readOptions(state);
    const names = bins ? [...kind.names, ...nodeNames(options.n_nodes)] : kind.names;
    const params = readParams(state.params, names);
    const domain = readDomain(state.domain, kind.usesK);
    const make = (p) => kind.make(p, options, bins);
    const value = make(params);
    if (!Number.isFinite(value(domain.N[1], domain.D[1], 1)))
      fail("its prediction", "a number at the largest N and D fitted", value(domain.N[1], domain.D[1], 1), "Fit it again.");
    return {
      name, kind: state.kind, sense: kind.sense, usesK: kind.usesK, domain,
      status: readStatus(state.status), value, evidence: readEvidence(state.evidence),
      replicates: readReplicates(state.bootstrap, names, make),
      biasCorrected: owns(options, "objective") && options.objective === "huber_log",
    };
  }

  function readOptions(state) {
    const options = state.options === undefined ? {} : state.options;
    if (!plainObject(options)) fail("options", "an object", options);
    if (state.kind !== "items") return { options, bins: null };
    const { n_nodes: nodes, n_items: items } = options;
    if (!(Number.isInteger(nodes) && nodes >= 4 && nodes <= 40)) fail("n_nodes", "a whole number from 4 to 40", nodes);
    if (!(Number.isInteger(items) && items >= 2 * nodes && items <= MOST.items))
      fail("n_items", "a whole number of at least two items a node", items);
    return { options: { n_nodes: nodes, n_items: items }, bins: itemBins({ n_nodes: nodes, n_items: items }) };
  }

  /** One value per name, finite, and not negative where a logarithm is taken. */
  function readParams(params, names) {
    if (!plainObject(params)) fail("params", "an object of numbers", params);
    const out = {};
    for (const name of names) {
      const x = owns(params, name) ? params[name] : undefined;
      if (!finite(x)) fail("parameter " + name, "a finite number", x);
      if (SCALES.includes(name) && x < 0) fail("parameter " + name, "at least 0", x);
      out[name] = x;
    }
    return out;
  }

  /** Ranges of the data: two finite numbers each, in order, no size that no model has. */
  function readDomain(domain, usesK) {
    if (!plainObject(domain)) fail("domain", "an object of ranges", domain);
    const out = {};
    for (const [name, [least, most]] of Object.entries(SIZES)) {
      if (!owns(domain, name)) {
        if (name === "k") continue; // laws of items and counts may leave it out
        fail("domain of " + name, "a range (low, high)", undefined);
      }
      const ends = domain[name];
      if (!Array.isArray(ends) || ends.length !== 2 || !ends.every(finite))
        fail("domain of " + name, "two finite numbers", Array.isArray(ends) && ends.length === 2 ? ends.find((x) => !finite(x)) : ends);
      if (!(ends[0] <= ends[1])) fail("domain of " + name, "in order, low before high", ends[0]);
      if (!(ends[0] >= least && ends[1] <= most))
        fail("domain of " + name, `from ${short(least)} to ${short(most)}`, ends[0] < least ? ends[0] : ends[1]);
      if (name !== "k" || usesK) out[name] = [ends[0], ends[1]];
    }
    // Files of earlier versions do not say which budgets were spent.
    const spent = owns(domain, "C_train") ? domain.C_train : [6 * out.N[0] * out.D[0], 6 * out.N[1] * out.D[1]];
    if (!Array.isArray(spent) || spent.length !== 2 || !spent.every(positive) || spent[0] > spent[1])
      fail("domain of C_train", "two positive numbers in order", spent);
    out.C_train = [spent[0], spent[1]];
    return out;
  }

  const list = (x, most, ok) => Array.isArray(x) && x.length <= most && x.every(ok);

  /** What the law was fitted to, as t2lib.data.evidence writes it; null where a file says nothing. */
  function readEvidence(evidence) {
    if (evidence === undefined || evidence === null) return null;
    if (!plainObject(evidence)) fail("evidence", "an object", evidence);
    const { measured, turned, chance, held_out: heldOut } = evidence;
    if (!(Number.isInteger(evidence.runs) && evidence.runs >= 1)) fail("evidence.runs", "a whole number of 1 or more", evidence.runs);
    if (!plainObject(turned) || !Object.values(turned).every(positive)) fail("evidence.turned", "an object of tokens by run", turned);
    return {
      runs: evidence.runs, toy: evidence.toy === true, unlisted: evidence.measure === "unlisted",
      turned: new Map(Object.entries(turned).slice(0, MOST.cells)), cells: readCells(measured), chance: readChance(chance),
      heldOut: plainObject(heldOut) && finite(heldOut.bias) && finite(heldOut.error) ? { bias: heldOut.bias, error: heldOut.error, cut: text(heldOut.cut, 80) } : null,
    };
  }

  /** One cell per measured checkpoint: group, N, D and its values along k, holes left out. */
  function readCells(measured) {
    if (!plainObject(measured)) fail("evidence.measured", "an object", measured);
    const { groups, group, N, D, k, value, se } = measured, count = Array.isArray(N) ? N.length : 0;
    if (!list(groups, MOST.cells, (x) => typeof x === "string")) fail("evidence.measured.groups", "a list of names", groups);
    if (!list(group, MOST.cells, (x) => Number.isInteger(x) && x >= 0 && x < groups.length)) fail("evidence.measured.group", "places in the list of groups", group);
    for (const [name, column] of [["N", N], ["D", D]])
      if (!list(column, MOST.cells, positive) || column.length !== group.length) fail("evidence.measured." + name, group.length + " positive numbers", column);
    if (!list(k, 100, (x) => finite(x) && x >= 1) || k.some((x, i) => i > 0 && x <= k[i - 1])) fail("evidence.measured.k", "growing numbers of 1 or more", k);
    const entry = (x) => x === null || (finite(x) && x >= 0);
    for (const [name, rows] of [["value", value], ["se", se]])
      if (!list(rows, 100, (row) => list(row, MOST.cells, entry) && row.length === count) || rows.length !== k.length)
        fail("evidence.measured." + name, "a list for each k", rows);
    return N.map((_, i) => ({
      group: text(groups[group[i]], 80), N: N[i], D: D[i],
      points: k.map((x, j) => ({ k: x, value: value[j][i], se: se[j][i] })).filter((p) => p.value !== null),
    })).filter((cell) => cell.points.length);
  }

  function readChance(chance) {
    if (chance === undefined || chance === null) return null;
    const { k, list: listed } = plainObject(chance) ? chance : {};
    if (!list(k, 1000, (x) => finite(x) && x >= 1) || !list(listed, 1000, (x) => finite(x) && x >= 0 && x <= 1) || k.length !== listed.length || !k.length)
      fail("evidence.chance", "an object with k and list of one length", chance);
    return { k: k.slice(), list: listed.slice() };
  }

  /** How the fit ended, as text that a page can show. */
  function readStatus(status) {
    if (!plainObject(status)) return { code: "unknown", message: "The file does not say how the fit ended." };
    return { code: text(status.code, 40), message: text(status.message) };
  }

  /** Replicates, each made when it is asked for: {length, at(i)}, or null where there are none. */
  function readReplicates(bootstrap, names, make) {
    if (bootstrap === undefined || bootstrap === null) return null;
    const params = plainObject(bootstrap) ? bootstrap.params : undefined;
    if (!plainObject(params)) fail("bootstrap", "an object with params", bootstrap);
    const columns = names.map((name) => readColumn(owns(params, name) ? params[name] : undefined, name));
    const length = columns[0].length;
    columns.forEach((column, j) => {
      if (column.length !== length) fail("replicates of " + names[j], `${length} values, as the others`, column);
    });
    const made = new Array(length);
    return {
      length,
      at(i) {
        if (!made[i]) {
          const p = {};
          names.forEach((name, j) => { p[name] = columns[j][i]; });
          made[i] = make(p);
        }
        return made[i];
      },
    };
  }

  function readColumn(column, name) {
    const what = "replicates of " + name;
    if (typeof column === "string") column = decode(column, what);
    else if (!Array.isArray(column)) fail(what, "a list of numbers", column);
    if (column.length < 1 || column.length > MOST.replicates)
      fail(what, `1 to ${MOST.replicates} values`, column.length);
    for (const x of column) {
      if (!finite(x)) fail(what, "finite numbers", x);
      if (SCALES.includes(name) && x < 0) fail(what, "at least 0", x);
    }
    return Float64Array.from(column);
  }

  /** Little-endian float64 in base64. */
  function decode(content, what) {
    let raw;
    try { raw = atob(content); } catch { fail(what, "numbers in base64", content); }
    if (raw.length % 8) fail(what, "whole float64 values in base64", raw.length + " bytes");
    const view = new DataView(Uint8Array.from(raw, (c) => c.charCodeAt(0)).buffer);
    return Float64Array.from({ length: raw.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
  }

  function geomspace(a, b, n) {
    const la = Math.log(a), step = (Math.log(b) - la) / (n - 1);
    return Array.from({ length: n }, (_, i) => (i === 0 ? a : i === n - 1 ? b : Math.exp(la + i * step)));
  }

  function roundEven(x) {
    const low = Math.floor(x), rest = x - low;
    return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
  }

  root.t2laws = { KINDS, MOST, LawError, betaPassAtK, geomspace, parseLaw, readLaw, text };
})(typeof window === "undefined" ? globalThis : window);
