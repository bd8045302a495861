/* The planner's arithmetic: what t2lib.planning.optimum does, in the browser.
 *
 * Laws come from planner-laws.js; nothing here touches the page. The search takes the same grids and
 * steps as the Python, so the numbers agree far beyond what is shown; tests/test_planner.py holds both
 * together. Every loop has a fixed number of turns, whatever the law and the budgets.
 */
(function (root) {
  "use strict";
  const { KINDS, readLaw, geomspace } = root.t2laws;
  const FARTHEST_SIZE = 3, FARTHEST_BUDGET = 10, TOY = 1e6; // as t2lib.planning.trust has them
  const MOST_SHOWN = 24; // measured checkpoints in the figure
  const GOOD_STEPS = 120, GOOD_REACH = 1e3; // of the search for sizes that are good enough

  /* ---- search ---- */

  const FINE = { points: 400, modes: 4, rounds: 7 };
  const COARSE = { points: 96, modes: 2, rounds: 5 };
  const MIDDLE = { points: 160, modes: 3, rounds: 8 };
  const INNER = { points: 32, modes: 1, rounds: 5 };
  const SCOUT = { points: 16, modes: 1, rounds: 2 }; // good enough to tell which N to look at closely
  const AT_LIMIT = 1 - 1e-9; // share of a limit from which a size counts as being there
  const AT_END = 1e-7, TIE = 1e-13, EPS = 2.220446049250313e-16;

  /** Global minimum of fun over [lo, hi]: a grid, zooms around its best local minima, a parabola.
   *  On the grid `scout` may stand in for fun. */
  function closest(fun, lo, hi, plan, scout = fun) {
    const m = plan.points, x = new Float64Array(m), f = new Float64Array(m);
    for (let i = 0; i < m; i++) {
      x[i] = i === m - 1 ? hi : lo + (hi - lo) * (i / (m - 1));
      f[i] = scout(x[i]);
      if (Number.isNaN(f[i])) throw new Error("The law has no value at some N of the search range. Try other budgets, or fit it again.");
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

  /** A size, cut to a limit where one is given. */
  const capped = (x, limit) => (limit === undefined || limit === null ? x : Math.min(x, limit));
  const given = (limit) => limit !== undefined && limit !== null;

  function searchRange(law, affordable, short, maxN) {
    const lo = Math.max(law.domain.N[0] * 1e-3, 1), hi = capped(law.domain.N[1] * 1e4, maxN);
    need(hi >= lo, "The largest model allowed must be at least the start of the range searched, "
      + lo.toPrecision(3) + " parameters. Raise it, or choose a law of smaller models.");
    need(affordable >= lo, short + ": it buys at most N = " + affordable.toPrecision(3)
      + ", below the range searched, which starts at " + lo.toPrecision(3)
      + ". Raise it, or choose a law of smaller models.");
    return [lo, Math.min(affordable, hi)];
  }

  /** The problem of one setting: what a size N buys, and how to find the best one.
   *
   * setting: {cTrain, cInf (null: one sample), integerK} or {cTotal, queries, tokens}; either with
   * the limits maxN, maxD, maxK, as t2lib.Budget has them.
   */
  function problem(law, setting) {
    return setting.cTotal === undefined ? budgets(law, setting) : deployment(law, setting);
  }

  /** Name what bounds an optimum: an end of the search (`end`), else a limit that it lies at. */
  function bounded(end, at, { maxN, maxD, maxK }) {
    if (end === "upper" && given(maxN) && Math.log(at.N) >= Math.log(maxN) - 1e-6) return "max_N";
    if (end) return end;
    if (given(maxD) && at.D >= maxD * AT_LIMIT) return "max_D";
    return given(maxK) && at.k >= maxK * AT_LIMIT ? "max_k" : null;
  }

  function budgets(law, setting) {
    const { cTrain, cInf, integerK, maxN, maxD, maxK } = setting;
    const limited = cInf !== null && cInf !== undefined;
    const byK = limited ? cInf / 2 : Infinity, byD = cTrain / 6;
    const [least, most] = searchRange(law, Math.min(byK, byD), byK <= byD
      ? "C_inf must pay for one sample" : "C_train must pay for one training token", maxN);
    const spend = (N, fixed) => ({
      N, D: capped(cTrain / (6 * N), maxD),
      k: fixed || (limited && law.usesK ? capped(Math.max(cInf / (2 * N), 1), maxK) : 1),
    });
    const exact = (n, a, b) => {
      const N = n >= Math.log(b) - AT_END ? b : Math.exp(n);
      return n <= Math.log(a) + AT_END ? a : N;
    };
    const solve = (value, plan, fixed, top) => {
      const end = top || most, lo = Math.log(least), hi = Math.log(end);
      const objective = (n) => {
        const at = spend(Math.exp(n), fixed);
        return law.sense * value(at.N, at.D, at.k);
      };
      const found = closest(objective, lo, hi, plan);
      // A limit bends the curve where it begins to bind; the search only comes near such a point.
      const bends = [];
      if (given(maxD)) bends.push(cTrain / (6 * maxD));
      if (given(maxK) && limited && !fixed) bends.push(cInf / (2 * maxK));
      for (const bend of bends) {
        const n = Math.min(Math.max(Math.log(bend), lo), hi);
        if (objective(n) <= objective(found.x)) Object.assign(found, { x: n, flat: false });
      }
      const at = spend(exact(found.x, least, end), fixed);
      at.bound = bounded(found.flat ? "flat"
        : found.x >= hi - AT_END ? (hi >= Math.log(byK) - 1e-12 ? "k=1" : "upper")
        : found.x <= lo + AT_END ? "lower" : null, at, setting);
      return at;
    };
    const whole = (value, real) => {
      const up = capped(Math.ceil(real.k), given(maxK) ? Math.floor(maxK) : null);
      const tried = [Math.floor(real.k), up].map((k) => {
        const room = Math.min(most, cInf / (2 * k)), possible = room >= least || k <= real.k;
        const at = solve(value, FINE, k, Math.max(room, least));
        return { at, score: possible ? law.sense * value(at.N, at.D, at.k) : Infinity };
      });
      const best = tried[1].score < tried[0].score ? tried[1].at : tried[0].at;
      return Object.assign(best, { bound: real.bound });
    };
    return {
      least, most, spend,
      best(value) {
        const real = solve(value, FINE);
        return integerK && limited ? whole(value, real) : real;
      },
      replicate: (value) => solve(value, COARSE),
      along: (value, N) => spend(N),
    };
  }

  function deployment(law, setting) {
    const { cTotal, queries, tokens, maxN, maxD, maxK } = setting;
    const perK = 2 * queries * tokens;
    const [least, most] = searchRange(law, cTotal / (6 + perK),
      "C_total must pay for one token of training and one sample per query", maxN);
    const lo = Math.log(least), hi = Math.log(most), logit = (x) => Math.log(x) - Math.log1p(-x);
    /** The split u at N, from one token or max_k samples (0) to one sample or max_D tokens (1). */
    const sizes = (N, u) => {
      const small = (6 * N) / cTotal, sample = (perK * N) / cTotal, serve = Math.min(sample, 1 - small);
      let from = logit(small), to = Math.log1p(-serve) - Math.log(serve), top = 1 - serve, full = false;
      if (given(maxD) && small * maxD < top) [top, full] = [small * maxD, true];
      if (full) to = logit(top);
      if (given(maxK)) from = Math.max(from, logit(Math.min(Math.max(1 - sample * maxK, small), 1 - serve)));
      const s = from + u * Math.max(to - from, 0);
      const share = u >= 1 ? top : 1 / (1 + Math.exp(-s));
      const k = u >= 1 && !(full && law.usesK) ? 1 : Math.max(1 / (1 + Math.exp(s)) / sample, 1);
      const D = capped(share / small, maxD);
      return { N, D, k: capped(k, maxK), share: share * Math.min(1, D / (share / small)) };
    };
    const score = (value, at) => law.sense * value(at.N, at.D, at.k);
    const split = (value, N, plan = INNER) => !law.usesK ? 1
      : closest((u) => score(value, sizes(N, u)), 0, 1, plan).x;
    const profile = (value, plan) => (n) => {
      const N = Math.exp(n);
      return score(value, sizes(N, split(value, N, plan)));
    };
    return {
      least, most,
      spend: (N) => sizes(N, 1),
      best(value) {
        const found = closest(profile(value, INNER), lo, hi, MIDDLE, profile(value, SCOUT));
        const N = Math.exp(found.x), at = sizes(N, split(value, N));
        const end = found.flat ? "flat" : found.x >= hi - AT_END ? "upper"
          : found.x <= lo + AT_END ? "lower" : law.usesK && at.k <= 1 + 1e-9 ? "k=1" : null;
        at.bound = bounded(end, at, setting);
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
    return decided(law, at);
  }

  function describe(law, at) {
    return Object.assign(at, {
      ratio: at.D / at.N, value: law.value(at.N, at.D, at.k), beyond: extrapolation(law, at),
    });
  }

  function decided(law, at) {
    const best = describe(law, at);
    need(Number.isFinite(best.value), "The law predicts no finite number for these budgets. Try others, or fit it again.");
    return best;
  }

  /** The best size for one sample per question: what training alone would choose. */
  function oneSample(law, setting) {
    if (setting.cTotal === undefined)
      return allocate(law, Object.assign({}, setting, { cInf: null }));
    const plain = Object.assign({}, law, { usesK: false });
    return decided(law, deployment(plain, setting).best(law.value));
  }

  /** The same budget spent at a given size; null where it does not pay for that size. */
  function atSize(law, setting, N) {
    const solve = problem(law, setting);
    return N <= solve.most ? describe(law, solve.along(law.value, N)) : null;
  }

  /** Sizes around the optimum that lose at most `tolerance` of the value, as t2lib.near_optimal.
   *  An end is `open` where the budget or the search ends before the loss grows that far. */
  function goodEnough(law, setting, best, tolerance) {
    const solve = problem(law, setting), scale = Math.max(Math.abs(best.value), 2.2250738585072014e-308);
    const loses = (n) => {
      const at = solve.along(law.value, Math.exp(n));
      return law.sense * (law.value(at.N, at.D, at.k) - best.value) / scale > tolerance;
    };
    const edge = (far) => {
      const from = Math.log(best.N), to = Math.log(far), steps = GOOD_STEPS;
      for (let i = 1; i <= steps; i++) {
        const n = i === steps ? to : from + (to - from) * (i / steps) ** 2; // close to the optimum first
        if (!loses(n)) continue;
        let inside = from + (to - from) * ((i - 1) / steps) ** 2, outside = n;
        for (let turn = 0; turn < 24; turn++) {
          const middle = 0.5 * (inside + outside);
          if (loses(middle)) outside = middle; else inside = middle;
        }
        return { N: Math.exp(inside), open: false };
      }
      return { N: far, open: true };
    };
    return [edge(Math.max(best.N / GOOD_REACH, 1)), edge(Math.min(best.N * GOOD_REACH, solve.most))];
  }

  /** The nearest measured checkpoint of each of the nearest runs, nearest first, in log N and log D,
   *  with what was measured at the k nearest to the plan's and what the law says there. */
  function nearest(law, at, most = 3) {
    const far = (cell) => Math.hypot(Math.log(cell.N / at.N), Math.log(cell.D / at.D));
    const runs = new Map();
    for (const cell of law.evidence ? law.evidence.cells : [])
      if (!runs.has(cell.group) || far(cell) < far(runs.get(cell.group))) runs.set(cell.group, cell);
    return [...runs.values()].sort((a, b) => far(a) - far(b)).slice(0, most).map((cell) => readOff(law, cell, at.k));
  }

  /** A measured checkpoint at a number of samples, on log scales between those measured. */
  function readOff(law, cell, samples) {
    const { points } = cell, last = points.length - 1;
    const k = law.usesK ? Math.min(Math.max(samples, points[0].k), points[last].k) : points[0].k;
    const i = Math.max(0, points.findIndex((p, j) => j === last || points[j + 1].k >= k));
    const a = points[i], b = points[Math.min(i + 1, last)];
    const t = b.k > a.k ? Math.log(k / a.k) / Math.log(b.k / a.k) : 0;
    const between = (x, y) => (x === null || y === null ? null : x > 0 && y > 0 ? Math.exp((1 - t) * Math.log(x) + t * Math.log(y)) : (1 - t) * x + t * y);
    return { group: cell.group, N: cell.N, D: cell.D, k, value: between(a.value, b.value), se: between(a.se, b.se), law: law.value(cell.N, cell.D, k) };
  }

  /** What a list of frequent answers solves with k tries, or null where nobody knows. */
  function chance(law, k) {
    const line = law.evidence && law.evidence.chance;
    if (!line) return null;
    if (k < line.k[0] || k > line.k[line.k.length - 1]) return null;
    const i = Math.max(0, line.k.findIndex((at, j) => j === line.k.length - 1 || line.k[j + 1] >= k));
    const j = Math.min(i + 1, line.k.length - 1);
    const t = j > i ? Math.log(k / line.k[i]) / Math.log(line.k[j] / line.k[i]) : 0;
    return (1 - t) * line.list[i] + t * line.list[j];
  }

  /** Measured checkpoints that cost about as much to train as the plan, read off at its samples. */
  function measuredBeside(law, setting, plan) {
    const cost = setting.cTotal === undefined ? setting.cTrain : 6 * plan.N * plan.D;
    return (law.evidence ? law.evidence.cells : [])
      .filter((cell) => Math.abs(Math.log((6 * cell.N * cell.D) / cost)) < Math.LN2 / 2)
      .map((cell) => {
        const k = setting.cTotal === undefined && setting.cInf !== null ? Math.max(setting.cInf / (2 * cell.N), 1) : plan.k;
        const points = cell.points, inside = !law.usesK || (k >= points[0].k * 0.999 && k <= points[points.length - 1].k * 1.001);
        return inside ? readOff(law, cell, k) : null;
      }).filter((row) => row && row.value !== null).slice(0, MOST_SHOWN);
  }

  /** By what factor a size lies beyond a range, 1 inside. */
  function beyond(x, [low, high]) {
    const factor = Math.max(x / high, low / x, 1);
    return factor > 1 + 1e-9 ? factor : 1;
  }

  /** What speaks against a plan, as t2lib.planning.trust: `reasons` to refuse it, each
   *  {name, value, factor} or {kind}; the nearest measured runs; what guessing reaches; the slope of
   *  log pass@k in log k; the nearest run that turned. The page puts it into words. */
  function judge(law, at) {
    const sizes = { N: at.N, D: at.D, k: at.k, tokens_per_param: at.D / at.N, C_train: 6 * at.N * at.D };
    const reasons = [], toy = law.evidence ? law.evidence.toy : law.domain.N[1] < TOY;
    if (!["converged", "at_bound"].includes(law.status.code)) reasons.push({ kind: "fit" });
    const budget = beyond(sizes.C_train, law.domain.C_train);
    if (toy && budget > FARTHEST_BUDGET) reasons.push({ kind: "toy", value: sizes.C_train });
    for (const [name, value] of Object.entries(sizes)) {
      if (!law.domain[name]) continue;
      const factor = beyond(value, law.domain[name]);
      if (factor > (name === "C_train" ? FARTHEST_BUDGET : FARTHEST_SIZE))
        reasons.push({ kind: "beyond", name, value, factor, high: value > law.domain[name][1] });
    }
    const listed = law.usesK && law.sense < 0 ? chance(law, at.k) : null;
    if (listed !== null && at.value < listed) reasons.push({ kind: "guess", chance: listed });
    return { reasons, toy, chance: listed, nearest: nearest(law, at), slope: slope(law, at), turned: turned(law, sizes) };
  }

  /** Slope of log pass@k in log k, by a small step up; null for a law that knows no k. */
  function slope(law, at) {
    if (!law.usesK) return null;
    const [a, b] = [at.k, 1.01 * at.k].map((k) => law.value(at.N, at.D, k));
    const rise = law.sense > 0 ? (a - b) / Math.log(1.01) : Math.log(b / a) / Math.log(1.01);
    return Number.isFinite(rise) ? rise : null;
  }

  /** The measured run nearest in size, if it got worse before the D of the plan. */
  function turned(law, { N, D }) {
    if (!law.evidence) return null;
    const far = (cell) => Math.abs(Math.log(cell.N / N));
    const near = law.evidence.cells.filter((cell) => far(cell) <= Math.log(3)).sort((a, b) => far(a) - far(b))[0];
    const best = near && law.evidence.turned.get(near.group);
    return best && best < D ? { group: near.group, N: near.N, best } : null;
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
      const at = solve.replicate(law.replicates.at(i));
      for (const name of ["N", "D", "k", "share"]) out[name].push(at[name]);
      out.ratio.push(at.D / at.N);
      yield (i + 1) / law.replicates.length;
    }
    const found = {};
    for (const name of Object.keys(out)) if (out[name][0] !== undefined) found[name] = ends(out[name], level);
    found.value = valueInterval(law, best, level);
    return found;
  }

  /** Of the law's value: for Huber fits bias-corrected, as t2lib.laws.fit.Bootstrap. */
  function valueInterval(law, at, level) {
    const values = Array.from({ length: law.replicates.length },
      (_, i) => law.replicates.at(i)(at.N, at.D, at.k));
    need(values.every(Number.isFinite), "A replicate of the law predicts no finite number here.");
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
    return (lo < top ? geomspace(lo, top, points) : [top]).map((N) => {
      const at = single
        ? Object.assign(solve.spend(N), setting.cTotal === undefined ? { k: 1 } : {})
        : solve.along(law.value, N);
      return describe(law, at);
    });
  }

  /** Intervals of the law's value at several points, one at a time: a generator. */
  function* bands(law, points, level) {
    const out = [];
    for (const point of points) {
      out.push(valueInterval(law, point, level));
      yield out.length / points.length;
    }
    return out;
  }

  /* ---- axes ---- */

  /** Ends of a vertical axis that shows `values` and lets them be told apart from rounding. */
  function span(values, sense, best) {
    const shown = values.filter(Number.isFinite);
    let low = Math.min(best, ...shown), high = Math.max(best, ...shown);
    // A loss rises without end at sizes that the budget starves: they may leave the frame.
    if (sense > 0) high = Math.min(high, low + 4 * Math.max(best - low, 0.25 * Math.abs(low)));
    const least = 1e-3 * Math.max(Math.abs(low), Math.abs(high), 1e-9);
    const pad = Math.max(0.08 * (high - low), 0.5 * (least - (high - low)));
    // No pass@k lies below 0 or above 1.
    return sense > 0 ? [low - pad, high + pad] : [Math.max(0, low - pad), Math.min(1, high + pad)];
  }

  /** Round numbers from low to high, at most `most` of them, by index: no step is too small. */
  function ticks(low, high, most = 7) {
    if (!(high > low) || !Number.isFinite(high - low)) return [];
    const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough)), r = rough / power;
    const step = power * (r < 1.5 ? 1 : r < 3.5 ? 2 : r < 7.5 ? 5 : 10);
    const first = Math.ceil(low / step), count = Math.floor(high / step) - first + 1;
    if (!(count > 0) || !Number.isSafeInteger(first) || !(step > 0)) return [];
    return Array.from({ length: Math.min(count, most) }, (_, i) => (first + i) * step);
  }

  /** Powers of ten from low to high, at most `most` of them. */
  function decades(low, high, most = 8) {
    const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
    if (!(last >= first) || !Number.isFinite(last - first)) return [];
    const stride = Math.ceil((last - first + 1) / most);
    return Array.from({ length: Math.floor((last - first) / stride) + 1 }, (_, i) => 10 ** (first + i * stride));
  }

  root.t2engine = {
    KINDS: Object.keys(KINDS), readLaw, allocate, oneSample, atSize, goodEnough,
    nearest, chance, measuredBeside, judge, extrapolation, intervals, isoflop,
    valueInterval, bands, span, ticks, decades,
  };
})(typeof window === "undefined" ? globalThis : window);
