/* The planner's arithmetic: what t2lib.laws.allocate does, in the browser.
 *
 * A law arrives as the JSON that law.to_json() writes, or in the compact form of
 * t2lib.chapters.planner (bootstrap columns in base64); nothing here touches the page. The search
 * takes the same grids and steps as the Python, so the numbers agree far beyond what is shown;
 * tests/test_planner.py holds both together.
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

  function itemLaw(p, options, bins) {
    const loss = interaction(p), name = (kind, j) => kind + "_" + String(j).padStart(2, "0");
    const at = (kind, b) =>
      p[name(kind, b.node)] * (1 - b.t) + p[name(kind, b.node + 1)] * b.t;
    const level = bins.map((b) => at("level", b)), rise = bins.map((b) => at("slope", b));
    const share = bins.map((b) => b.share);
    return (N, D, k) => {
      const L = loss(N, D, 1), logk = Math.log(k);
      let sum = 0;
      for (let i = 0; i < share.length; i++)
        sum += share[i] * passAtK(Math.min(level[i] + rise[i] * L, -1e-9), k, logk);
      return sum;
    };
  }

  const KINDS = {
    chinchilla: { sense: 1, usesK: false, make: chinchilla },
    interaction: { sense: 1, usesK: false, make: interaction },
    loss: {
      sense: 1, usesK: true,
      make: (p) => powerLaw(p, [
        ["A", (q) => -q.alpha],
        ["B", null, (q) => -q.beta],
        ["G", null, null, (q) => -q.gamma],
      ]),
    },
    accuracy: { sense: -1, usesK: true, make: accuracyLaw },
    items: { sense: -1, usesK: true, make: itemLaw },
    counts: { sense: -1, usesK: true, make: countLaw },
  };

  /** Check a law's JSON and make it usable; throws an Error that says what is wrong. */
  function readLaw(state, name) {
    const fail = (why) => { throw new Error("This is not a law of this version of t2lib: " + why); };
    if (typeof state !== "object" || state === null || state.format !== 1) fail("format 1 is needed.");
    const kind = Object.prototype.hasOwnProperty.call(KINDS, state.kind) ? KINDS[state.kind] : null;
    if (!kind) fail("this planner does not know its kind.");
    const number = (x) => typeof x === "number" && Number.isFinite(x);
    const names = Object.keys(state.params || {});
    if (!names.length || !names.every((x) => number(state.params[x]))) fail("it has no parameters.");
    const domain = state.domain || {};
    for (const size of ["N", "D", "tokens_per_param"])
      if (!Array.isArray(domain[size]) || !domain[size].every(number)) fail("it has no range of " + size + ".");
    const options = state.options || {};
    let bins = null;
    if (state.kind === "items") {
      if (!(options.n_items > 0) || !(options.n_nodes >= 4 && options.n_nodes <= 40)) fail("it has no items.");
      bins = itemBins(options);
    }
    const make = (p) => kind.make(p, options, bins);
    const trial = make(state.params)(domain.N[0], domain.D[1], 1);
    if (!Number.isFinite(trial)) fail("a parameter is missing.");
    let replicates = null;
    if (state.bootstrap) {
      const columns = {};
      for (const x of names) {
        const column = state.bootstrap.params[x];
        columns[x] = typeof column === "string" ? decode(column) : column;
        if (!columns[x] || !columns[x].length) fail("its replicates are damaged.");
      }
      replicates = Array.from({ length: columns[names[0]].length }, (_, i) => {
        const p = {};
        for (const x of names) p[x] = columns[x][i];
        return make(p);
      });
    }
    return {
      name, kind: state.kind, sense: kind.sense, usesK: kind.usesK, domain,
      status: state.status || { code: "unknown", message: "" }, meta: state.meta || {},
      value: make(state.params), replicates, biasCorrected: options.objective === "huber_log",
    };
  }

  function decode(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float64Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
  }

  function geomspace(a, b, n) {
    const la = Math.log(a), step = (Math.log(b) - la) / (n - 1);
    return Array.from({ length: n }, (_, i) => (i === 0 ? a : i === n - 1 ? b : Math.exp(la + i * step)));
  }

  function roundEven(x) {
    const low = Math.floor(x), rest = x - low;
    return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
  }

  /* ---- search ---- */

  const FINE = { points: 400, modes: 4, rounds: 7 };
  const COARSE = { points: 96, modes: 2, rounds: 5 };
  const INNER = { points: 64, modes: 2, rounds: 5 };
  const AT_END = 1e-7, TIE = 1e-13, EPS = 2.220446049250313e-16;

  /** Global minimum of fun over [lo, hi]: a grid, zooms around its best local minima, a parabola. */
  function closest(fun, lo, hi, plan) {
    const m = plan.points, x = new Float64Array(m), f = new Float64Array(m);
    for (let i = 0; i < m; i++) {
      x[i] = i === m - 1 ? hi : lo + (hi - lo) * (i / (m - 1));
      f[i] = fun(x[i]);
      if (Number.isNaN(f[i])) throw new Error("The law has no value at some N of the search range.");
    }
    const modes = [];
    for (let i = 0; i < m; i++)
      if ((i === 0 || f[i] <= f[i - 1]) && (i === m - 1 || f[i] <= f[i + 1])) modes.push(i);
    modes.sort((a, b) => f[a] - f[b] || a - b);
    let bestX = NaN, bestF = Infinity;
    for (const i of modes.slice(0, plan.modes)) {
      const [at, value] = zoom(fun, x[i], lo, hi, (hi - lo) / (m - 1), plan.rounds);
      if (value < bestF || Number.isNaN(bestX)) [bestX, bestF] = [at, value];
    }
    return plateau(x, f, bestX, bestF);
  }

  function zoom(fun, start, lo, hi, step, rounds) {
    const clip = (t) => Math.min(Math.max(t, lo), hi);
    let bx = start, bf = Infinity;
    for (let r = 0; r < rounds; r++) {
      const centre = bx;
      bf = Infinity;
      for (let s = -4; s <= 4; s++) {
        const t = clip(centre + step * (s / 4)), ft = fun(t);
        if (ft < bf) [bx, bf] = [t, ft];
      }
      step /= 4;
    }
    const left = fun(clip(bx - step)), right = fun(clip(bx + step));
    const bend = left - 2 * bf + right, rise = 0.5 * (left - right);
    if (bx - step > lo && bx + step < hi && bend > 0) {
      const t = clip(bx + step * Math.min(Math.max(rise / bend, -1), 1)), ft = fun(t);
      if (ft <= bf + 4 * EPS * Math.abs(bf)) [bx, bf] = [t, ft];
    }
    return [bx, bf];
  }

  /** Where grid points tie with the optimum, it is the middle of them. */
  function plateau(x, f, bestX, bestF) {
    const top = bestF + TIE * Math.abs(bestF);
    let run = null, start = -1;
    for (let i = 0; i <= x.length; i++) {
      const tie = i < x.length && f[i] <= top;
      if (tie && start < 0) start = i;
      if (!tie && start >= 0) {
        if (i - 1 > start && (!run || i - 1 - start > run[1] - run[0])) run = [start, i - 1];
        start = -1;
      }
    }
    const flat = run !== null && x[x.length - 1] > x[0];
    return { x: flat ? 0.5 * (x[run[0]] + x[run[1]]) : bestX, f: bestF, flat };
  }

  /** Minimum over a rectangle, for replicates: a grid, then steps that a local parabola proposes. */
  function closest2(fun, lo, hi) {
    const P = 48, Q = 32, f = new Float64Array(P * Q);
    const nAt = (i) => lo + (hi - lo) * (i / (P - 1)), uAt = (j) => j / (Q - 1);
    for (let i = 0; i < P; i++) for (let j = 0; j < Q; j++) f[i * Q + j] = fun(nAt(i), uAt(j));
    const modes = [];
    for (let i = 0; i < P; i++) for (let j = 0; j < Q; j++) {
      let low = true;
      for (let a = Math.max(i - 1, 0); low && a <= Math.min(i + 1, P - 1); a++)
        for (let b = Math.max(j - 1, 0); b <= Math.min(j + 1, Q - 1); b++)
          if (f[a * Q + b] < f[i * Q + j]) { low = false; break; }
      if (low) modes.push([f[i * Q + j], i, j]);
    }
    modes.sort((a, b) => a[0] - b[0]);
    let best = null;
    for (const [value, i, j] of modes.slice(0, 3)) {
      const end = descend(fun, lo, hi, nAt(i), uAt(j), value, (hi - lo) / (P - 1), 1 / (Q - 1));
      if (!best || end[2] < best[2]) best = end;
    }
    return best;
  }

  function descend(fun, lo, hi, n, u, value, dn, du) {
    const inN = (t) => Math.min(Math.max(t, lo), hi), inU = (t) => Math.min(Math.max(t, 0), 1);
    for (let round = 0; round < 60 && dn > 2e-4; round++) {
      const g = [], from = [n, u];
      const take = (a, b) => {
        const ft = fun(a, b);
        if (ft < value) [n, u, value] = [a, b, ft];
        return ft;
      };
      const base = value;
      for (let a = -1; a <= 1; a++) for (let b = -1; b <= 1; b++)
        g.push(a || b ? take(inN(from[0] + a * dn), inU(from[1] + b * du)) : base);
      const gn = (g[7] - g[1]) / 2, gu = (g[5] - g[3]) / 2;
      const hn = g[7] - 2 * g[4] + g[1], hu = g[5] - 2 * g[4] + g[3];
      const hx = (g[8] - g[6] - g[2] + g[0]) / 4, det = hn * hu - hx * hx;
      const edgeU = from[1] <= 0 || from[1] >= 1;
      let far = Infinity;
      if (hn > 0 && (edgeU || (hu > 0 && det > 0))) {
        const free = !edgeU || hu <= 0 || (from[1] >= 1 ? gu > 0 : gu < 0);
        const full = !edgeU && free;
        const sn = full ? -(hu * gn - hx * gu) / det : -gn / hn;
        const su = full ? -(hn * gu - hx * gn) / det : 0;
        far = Math.max(Math.abs(sn), Math.abs(su));
        const cut = Math.min(1, 4 / Math.max(far, 1e-300));
        take(inN(from[0] + cut * sn * dn), inU(from[1] + cut * su * du));
      }
      if (far < 0.5 || (n === from[0] && u === from[1])) { dn /= 4; du /= 4; }
    }
    return [n, u, value];
  }

  /* ---- decisions ---- */

  function need(ok, message) { if (!ok) throw new Error(message); }

  function searchRange(law, affordable, short) {
    const lo = Math.max(law.domain.N[0] * 1e-3, 1), hi = law.domain.N[1] * 1e4;
    need(affordable >= lo, short + ": it buys at most N = " + affordable.toPrecision(3)
      + ", below the range searched, which starts at " + lo.toPrecision(3) + ".");
    return [lo, Math.min(affordable, hi)];
  }

  /** The problem of one setting: what a size N buys, and how to find the best one.
   *
   * setting: {cTrain, cInf (null: one sample), integerK} or {cTotal, queries, tokens}.
   */
  function problem(law, setting) {
    return setting.cTotal === undefined ? budgets(law, setting) : deployment(law, setting);
  }

  function budgets(law, { cTrain, cInf, integerK }) {
    const limited = cInf !== null && cInf !== undefined;
    const byK = limited ? cInf / 2 : Infinity, byD = cTrain / 6;
    const [least, most] = searchRange(law, Math.min(byK, byD), byK <= byD
      ? "C_inf must pay for one sample" : "C_train must pay for one training token");
    const spend = (N, fixed) => ({
      N, D: cTrain / (6 * N), k: fixed || (limited ? Math.max(cInf / (2 * N), 1) : 1),
    });
    const exact = (n, a, b) => {
      const N = n >= Math.log(b) - AT_END ? b : Math.exp(n);
      return n <= Math.log(a) + AT_END ? a : N;
    };
    const solve = (value, plan, fixed, top) => {
      const end = top || most, lo = Math.log(least), hi = Math.log(end);
      const found = closest((n) => {
        const at = spend(Math.exp(n), fixed);
        return law.sense * value(at.N, at.D, at.k);
      }, lo, hi, plan);
      const at = spend(exact(found.x, least, end), fixed);
      at.bound = found.flat ? "flat"
        : found.x >= hi - AT_END ? (hi >= Math.log(byK) - 1e-12 ? "k=1" : "upper")
        : found.x <= lo + AT_END ? "lower" : null;
      return at;
    };
    const whole = (value, real) => {
      const tried = [Math.floor(real.k), Math.ceil(real.k)].map((k) => {
        const room = Math.min(most, cInf / (2 * k)), possible = room >= least || k <= real.k;
        const at = solve(value, FINE, k, Math.max(room, least));
        return { at, score: possible ? law.sense * value(at.N, at.D, at.k) : Infinity };
      });
      const best = tried[1].score < tried[0].score ? tried[1].at : tried[0].at;
      return Object.assign(best, { bound: real.bound });
    };
    return {
      most, spend,
      best(value) {
        const real = solve(value, FINE);
        return integerK && limited ? whole(value, real) : real;
      },
      replicate: (value) => solve(value, COARSE),
      along: (value, N) => spend(N),
    };
  }

  function deployment(law, { cTotal, queries, tokens }) {
    const perK = 2 * queries * tokens;
    const [least, most] = searchRange(law, cTotal / (6 + perK),
      "C_total must pay for one token of training and one sample per query");
    const lo = Math.log(least), hi = Math.log(most);
    const sizes = (N, u) => {
      const small = (6 * N) / cTotal, serve = Math.min((perK * N) / cTotal, 1 - small);
      const a = Math.log(small) - Math.log1p(-small), b = Math.log1p(-serve) - Math.log(serve);
      const s = a + u * Math.max(b - a, 0);
      const share = u >= 1 ? 1 - serve : 1 / (1 + Math.exp(-s));
      const k = u >= 1 ? 1 : Math.max(1 / (1 + Math.exp(s)) / serve, 1);
      return { N, D: share / small, k, share };
    };
    const score = (value, at) => law.sense * value(at.N, at.D, at.k);
    const split = (value, N) => !law.usesK ? 1
      : closest((u) => score(value, sizes(N, u)), 0, 1, INNER).x;
    return {
      most,
      spend: (N) => sizes(N, 1),
      best(value) {
        const found = closest((n) => {
          const N = Math.exp(n);
          return score(value, sizes(N, split(value, N)));
        }, lo, hi, FINE);
        const N = Math.exp(found.x), at = sizes(N, split(value, N));
        at.bound = found.flat ? "flat" : found.x >= hi - AT_END ? "upper"
          : found.x <= lo + AT_END ? "lower" : law.usesK && at.k <= 1 + 1e-9 ? "k=1" : null;
        return at;
      },
      replicate(value) {
        const found = law.usesK
          ? closest2((x, v) => score(value, sizes(Math.exp(x), v)), lo, hi) : [lo, 1, Infinity];
        if (found[1] < 1) return sizes(Math.exp(found[0]), found[1]);
        // One sample: a search along that edge, which the tokens left over are sensitive to.
        return sizes(Math.exp(closest((x) => score(value, sizes(Math.exp(x), 1)), lo, hi, COARSE).x), 1);
      },
      along: (value, N) => sizes(N, split(value, N)),
    };
  }

  /** Best use of the budget, as t2lib.allocate or allocate_total; no intervals yet. */
  function allocate(law, setting) {
    const at = problem(law, setting).best(law.value);
    return describe(law, at);
  }

  function describe(law, at) {
    return Object.assign(at, {
      ratio: at.D / at.N, value: law.value(at.N, at.D, at.k), beyond: extrapolation(law, at),
    });
  }

  /** The best size for one sample per question: what training alone would choose. */
  function oneSample(law, setting) {
    if (setting.cTotal === undefined)
      return allocate(law, { cTrain: setting.cTrain, cInf: null });
    const plain = Object.assign({}, law, { usesK: false });
    return describe(law, deployment(plain, setting).best(law.value));
  }

  /** By what factor each size lies outside the data the law was fitted to. */
  function extrapolation(law, at) {
    const sizes = { N: at.N, D: at.D, tokens_per_param: at.D / at.N };
    if (law.usesK) sizes.k = at.k;
    const out = {};
    for (const name of ["N", "D", "k", "tokens_per_param"])
      if (sizes[name] !== undefined && law.domain[name]) {
        const [lo, hi] = law.domain[name];
        if (sizes[name] > hi * (1 + 1e-9)) out[name] = sizes[name] / hi;
        else if (sizes[name] < lo * (1 - 1e-9)) out[name] = sizes[name] / lo;
      }
    return out;
  }

  /** Percentile as numpy's default: linear between order statistics. */
  function quantile(sorted, q) {
    const at = q * (sorted.length - 1), low = Math.floor(at), rest = at - low;
    return rest ? sorted[low] + rest * (sorted[low + 1] - sorted[low]) : sorted[low];
  }

  const ends = (values, level) => {
    const sorted = Float64Array.from(values).sort();
    return [quantile(sorted, (1 - level) / 2), quantile(sorted, (1 + level) / 2)];
  };

  /** Each replicate's own optimum, a few at a time: a generator that yields the share done and
   *  returns the intervals of N, D, k, tokens per parameter, value and training share. */
  function* intervals(law, setting, best, level) {
    const solve = problem(law, setting), out = { N: [], D: [], k: [], ratio: [], share: [] };
    for (let i = 0; i < law.replicates.length; i++) {
      const at = solve.replicate(law.replicates[i]);
      for (const name of ["N", "D", "k", "share"]) out[name].push(at[name]);
      out.ratio.push(at.D / at.N);
      yield (i + 1) / law.replicates.length;
    }
    const found = {};
    for (const name of Object.keys(out)) if (out[name][0] !== undefined) found[name] = ends(out[name], level);
    found.value = valueInterval(law, best, level);
    return found;
  }

  /** Of the law's value: for Huber fits bias-corrected, as t2lib.laws.base.Bootstrap. */
  function valueInterval(law, at, level) {
    const values = law.replicates.map((value) => value(at.N, at.D, at.k));
    if (!law.biasCorrected) return ends(values, level);
    const point = law.value(at.N, at.D, at.k), sorted = Float64Array.from(values).sort();
    const below = values.reduce((sum, v) => sum + (v < point) + 0.5 * (v === point), 0) / values.length;
    const least = 0.5 / values.length, share = Math.min(Math.max(below, least), 1 - least);
    return [(1 - level) / 2, (1 + level) / 2].map((tail) =>
      quantile(sorted, normal(2 * normalQuantile(share) + normalQuantile(tail))));
  }

  /** Standard normal distribution: Simpson's rule from 0, far finer than replicates lie. */
  function normal(x) {
    const steps = 400, h = Math.min(Math.abs(x), 40) / steps;
    let sum = 0;
    for (let i = 0; i <= steps; i++)
      sum += (i === 0 || i === steps ? 1 : i % 2 ? 4 : 2) * Math.exp(-0.5 * (i * h) ** 2);
    return 0.5 + (Math.sign(x) * sum * h) / 3 / Math.sqrt(2 * Math.PI);
  }

  function normalQuantile(p) {
    let lo = -9, hi = 9;
    for (let i = 0; i < 60; i++) {
      const middle = 0.5 * (lo + hi);
      if (normal(middle) < p) lo = middle; else hi = middle;
    }
    return 0.5 * (lo + hi);
  }

  /** The law along sizes that cost the same: `points` allocations from lo to hi. */
  function isoflop(law, setting, lo, hi, points, single) {
    const solve = problem(law, setting), top = Math.min(hi, solve.most);
    if (!(lo < top)) return [];
    return geomspace(lo, top, points).map((N) => {
      const at = single
        ? (setting.cTotal === undefined ? { N, D: setting.cTrain / (6 * N), k: 1 } : solve.spend(N))
        : solve.along(law.value, N);
      return describe(law, at);
    });
  }

  root.t2engine = {
    KINDS: Object.keys(KINDS), readLaw, allocate, oneSample, extrapolation, intervals, isoflop,
    valueInterval, betaPassAtK,
  };
})(typeof window === "undefined" ? globalThis : window);
