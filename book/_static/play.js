/* Five figures to play with, on the planner's engine and the law scripts that t2lib.book.play names.
 *
 * Each figure stands in the page as a still picture; a figure that works takes its place, so that a
 * page without JavaScript, or in print, loses nothing but the motion. Every control is a native input
 * or a button: the keyboard moves it, and what changes is also said in words below the figure.
 */
(function () {
  "use strict";
  const { t2engine: engine, t2laws: laws } = window;
  const { round2: two, size2: size } = window.t2units;
  const NS = "http://www.w3.org/2000/svg";
  // On a phone the drawing is narrower, so that its letters are as large as the page's.
  const phone = matchMedia("(max-width: 576px)");
  let W = phone.matches ? 440 : 640;
  phone.addEventListener("change", () => { W = phone.matches ? 440 : 640; });
  const H = 300, LEFT = 62, RIGHT = 30, TOP = 14, BOTTOM = 48;
  const found = new Map(); // laws by name
  let data = null;
  window.t2planner = {
    law(state) { found.set(state.name, engine.readLaw(state, state.name)); },
    index() { /* the planner's list of laws is not needed here */ },
  };
  window.t2play = { data(body) { data = body; } };

  /* ---- words ---- */

  const percent = (x) => two(100 * x) + " %";

  /* ---- drawing ---- */

  function node(parent, tag, attributes, text) {
    const made = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  /** Powers of ten, with twice and five times each where these are few. */
  function logTicks(low, high) {
    const tens = engine.decades(low, high);
    if (tens.length > 2) return tens;
    const first = 10 ** Math.floor(Math.log10(low)), out = [];
    for (let ten = first; ten <= high; ten *= 10) out.push(ten, 2 * ten, 5 * ten);
    return out.filter((v) => v >= low && v <= high);
  }

  /** Axes of a panel; x is logarithmic, y linear or logarithmic. Returns where points lie. */
  function axes(svg, { x, y, logY, xName, yName, top = TOP, height = H - TOP - BOTTOM, xText = size, yText = two }) {
    const right = W - RIGHT, bottom = top + height;
    const scale = (ends, log, from, to) => {
      const [a, b] = log ? ends.map(Math.log) : ends;
      return (v) => from + (((log ? Math.log(v) : v) - a) / (b - a)) * (to - from);
    };
    const X = scale(x, true, LEFT, right), Y = scale(y, logY, bottom, top);
    node(svg, "path", { d: `M${LEFT} ${top}V${bottom}H${right}`, class: "t2-axis" });
    for (const v of logTicks(x[0], x[1])) {
      node(svg, "path", { d: `M${X(v)} ${bottom}v5`, class: "t2-axis" });
      node(svg, "text", { x: X(v), y: bottom + 19, "text-anchor": "middle" }, xText(v));
    }
    for (const v of logY ? logTicks(y[0], y[1]) : engine.ticks(y[0], y[1])) {
      node(svg, "path", { d: `M${LEFT} ${Y(v)}h-5`, class: "t2-axis" });
      node(svg, "text", { x: LEFT - 8, y: Y(v) + 4, "text-anchor": "end" }, yText(v));
    }
    node(svg, "text", { x: (LEFT + right) / 2, y: bottom + 38, "text-anchor": "middle" }, xName);
    node(svg, "text", { x: LEFT + 6, y: top + 4, class: "t2-name" }, yName);
    const clip = node(node(svg, "clipPath", { id: "t2-clip" + top + svg.parentNode.id }), "rect",
      { x: LEFT, y: top, width: right - LEFT, height });
    return { X, Y, inside: node(svg, "g", { "clip-path": `url(#${clip.parentNode.id})` }) };
  }

  const line = (at, points, style) => points.length && node(at.inside, "path", {
    d: "M" + points.map(([a, b]) => `${at.X(a).toFixed(1)} ${at.Y(b).toFixed(1)}`).join("L"), class: "t2-line " + style,
  });
  /** A curve of allocations: solid where the law interpolates, dashed where it extrapolates. */
  function curve(at, points, style, y = (p) => p.value) {
    for (const known of [true, false]) {
      let run = [];
      points.forEach((p, i) => {
        const inside = !Object.keys(p.beyond).length, next = points[i + 1];
        if (inside === known) run.push([p.N, y(p)]);
        if (run.length && (inside !== known || !next)) {
          if (inside !== known) run.push([p.N, y(p)]);
          line(at, run, style + (known ? "" : " t2-beyond"));
          run = [];
        }
      });
    }
  }
  const dot = (at, a, b, style, r = 5) => node(at.inside, "circle", { cx: at.X(a), cy: at.Y(b), r, class: "t2-dot " + style });
  const label = (at, a, b, text, style, dx = 0, dy = -10, anchor = "middle") => node(at.inside, "text",
    { x: at.X(a) + dx, y: at.Y(b) + dy, "text-anchor": anchor, class: "t2-label " + style }, text);

  /* ---- controls ---- */

  function slider(figure, name, least, most, value, say) {
    const id = figure.id + "-" + name.split(" ")[0], row = document.createElement("p");
    row.className = "t2-control";
    const label = document.createElement("label"), input = document.createElement("input"), out = document.createElement("output");
    label.htmlFor = input.id = id;
    label.textContent = name;
    Object.assign(input, { type: "range", min: least, max: most, step: 1, value });
    out.htmlFor = id;
    row.append(label, input, out);
    figure.querySelector(".t2-controls").append(row);
    const show = () => {
      out.textContent = say(Number(input.value));
      input.setAttribute("aria-valuetext", out.textContent);
    };
    show();
    return { input, get value() { return Number(input.value); }, show };
  }

  /** Take the place of the still picture; `draw` fills an empty SVG and returns a sentence. */
  function live(figure, height, draw, controls) {
    const svg = document.createElementNS(NS, "svg"), said = figure.querySelector(".t2-said");
    svg.setAttribute("role", "img");
    figure.querySelector(".t2-still").replaceWith(svg);
    let waiting = false;
    const update = () => {
      waiting = false;
      svg.setAttribute("viewBox", `0 0 ${W} ${height}`);
      svg.replaceChildren();
      said.textContent = draw(svg);
      svg.setAttribute("aria-label", said.textContent);
      figure.dataset.state = "done";
    };
    for (const control of controls)
      control.input.addEventListener("input", () => {
        control.show();
        if (!waiting) { waiting = true; requestAnimationFrame(update); }
      });
    phone.addEventListener("change", update);
    update();
    return update;
  }

  const steps = (lo, hi, count) => (i) => lo * (hi / lo) ** (i / count);

  /* ---- the five figures ---- */

  /** Measured models at one training budget: who is best as samples are paid for. */
  function crown(figure) {
    const { stops, C_train: budget } = data.crown;
    const say = (i) => (stops[i].C_inf === null ? "one sample for every model"
      : `${two(stops[i].C_inf)} FLOPs a token, one pass of a ${size(stops[i].C_inf / 2)} model`);
    const control = slider(figure, "Inference budget", 0, stops.length - 1, data.crown.start, say);
    live(figure, H, (svg) => {
      const rows = stops[control.value].models, best = rows.find((row) => row.best);
      const all = rows.flatMap((row) => [row.accuracy, row.chance]);
      const ends = [Math.min(...all) / 2, Math.min(Math.max(...all) * 2, 1)];
      const at = axes(svg, { x: [rows[0].N / 1.6, rows[rows.length - 1].N * 1.6], y: ends, logY: true,
        xName: "model size N, parameters", yName: "share of questions solved", yText: percent });
      line(at, rows.map((row) => [row.N, row.accuracy]), "t2-many");
      line(at, rows.map((row) => [row.N, row.chance]), "t2-chance");
      label(at, rows[0].N, rows[0].chance, "a list of frequent answers", "t2-chance", 0, -10, "start");
      rows.forEach((row, i) => {
        const error = 2 * (row.se || 0);
        if (error) line(at, [[row.N, Math.max(row.accuracy - error, ends[0])], [row.N, row.accuracy + error]], "t2-many");
        dot(at, row.N, row.accuracy, "t2-many");
        dot(at, row.N, row.chance, "t2-chance", 3.5);
        label(at, row.N, row.accuracy, "k = " + two(row.k), "t2-many", 0, 26 + 24 * (i % 2));
      });
      dot(at, best.N, best.accuracy, "t2-ring", 10);
      return `At ${two(budget)} FLOPs of training and ${say(control.value)}, the best measured model has ${size(best.N)} parameters: `
        + `${two(best.k)} ${two(best.k) === "1" ? "sample" : "samples"} a question solve ${percent(best.accuracy)}. `
        + `A list of as many frequent answers, which reads no question, solves ${percent(best.chance)}.`;
    }, [control]);
  }

  /** The law along N, and where its optimum goes as the inference budget grows. */
  function slide(figure) {
    const law = found.get(data.slide.law), budgets = data.slide.C_train;
    const inference = steps(data.slide.C_inf[0], data.slide.C_inf[1], 60);
    const control = slider(figure, "Inference budget", 0, 60, data.slide.start, (i) => two(inference(i)) + " FLOPs a token");
    const middle = budgets[Math.floor(budgets.length / 2)];
    const path = Array.from({ length: 31 }, (_, j) => inference(2 * j)).map((cInf) => {
      const best = engine.allocate(law, { cTrain: middle, cInf });
      return [cInf, best.N, best.beyond.k === undefined];
    });
    const single = engine.oneSample(law, { cTrain: middle, cInf: null }).N;
    live(figure, 520, (svg) => {
      const cInf = inference(control.value), [lo, hi] = law.domain.N;
      const at = axes(svg, { x: [lo, hi], y: [0, phone.matches ? 1.5 : 1.35], xName: "model size N, parameters", yName: "pass@k, relative to the best", height: 200 });
      let best = null;
      budgets.forEach((cTrain, i) => {
        const points = engine.isoflop(law, { cTrain, cInf }, lo, hi, 120, false), top = engine.allocate(law, { cTrain, cInf });
        const style = "t2-shade" + i;
        curve(at, points, style, (p) => p.value / top.value);
        dot(at, top.N, 1, style);
        label(at, top.N, 1, `${two(cTrain)} FLOPs`, style, 0, i % 2 ? -28 : -10);
        if (cTrain === middle) best = top;
      });
      const below = axes(svg, { x: data.slide.C_inf, y: [Math.min(...path.map((p) => p[1])) / 1.3, Math.max(single, ...path.map((p) => p[1])) * 1.3], logY: true,
        xName: "inference budget, FLOPs per served token", yName: `best size N at ${two(middle)} FLOPs of training`, top: 286, height: 180, yText: size, xText: two });
      line(below, data.slide.C_inf.map((c) => [c, single]), "t2-one");
      label(below, data.slide.C_inf[0], single, "best for one sample", "t2-one", 8, 16, "start");
      const reached = path.filter((p) => p[2]).length;
      line(below, path.slice(0, reached), "t2-shade1");
      line(below, path.slice(Math.max(reached - 1, 0)), "t2-shade1 t2-beyond");
      dot(below, cInf, best.N, "t2-ring", 9);
      return `With ${two(cInf)} FLOPs a token the best size for ${two(middle)} FLOPs of training is ${size(best.N)} parameters `
        + `(${two(best.ratio)} tokens per parameter, ${two(best.k)} samples), ${percent(best.value)} solved. `
        + `For one sample it is ${size(single)}: the first samples make the best model smaller, and once nearly all that samples can reach is reached, it grows again.`;
    }, [control]);
  }

  /** Why the mean of pass@k is not pass@k of the mean. */
  function spread(figure) {
    const mean = data.spread.mean, width = steps(300, 0.03, 60); // concentration of the Beta
    const control = slider(figure, "Spread of difficulty", 0, 60, data.spread.start, (i) =>
      i < 8 ? "all questions equally hard" : i > 48 ? "nearly all or nothing" : "standard deviation of p: " + two(Math.sqrt(mean * (1 - mean) / (width(i) + 1))));
    const ks = laws.geomspace(1, 1e4, 81);
    live(figure, H, (svg) => {
      const nu = width(control.value), at = axes(svg, { x: [1, 1e4], y: [0, 1.08], xName: "samples per question k", yName: "share of questions solved", xText: two });
      const same = ks.map((k) => [k, -Math.expm1(k * Math.log1p(-mean))]);
      const real = ks.map((k) => [k, laws.betaPassAtK(mean, nu, k)]);
      line(at, same, "t2-chance");
      line(at, real, "t2-many");
      label(at, ks[24], same[24][1], "all questions at the mean p", "t2-chance", 10, -4, "start");
      label(at, ks[60], real[60][1], "questions that differ", "t2-many", 0, 20);
      const [one, many] = [100, 10000].map((k) => laws.betaPassAtK(mean, nu, k));
      figure.dataset.value = String(one);
      return `One sample solves ${percent(mean)} in either world. A hundred samples solve ${percent(-Math.expm1(100 * Math.log1p(-mean)))} `
        + `if all questions are equally hard, and ${percent(one)} here; ten thousand solve ${percent(many)}. What samples buy depends on the spread of p, not on its mean.`;
    }, [control]);
  }

  /** How much of pass@k a verifier that errs leaves. */
  function verifier(figure) {
    const P = steps(1e-4, 0.5, 60), F = steps(1e-5, 0.5, 60);
    const p = slider(figure, "Chance that a sample is correct", 0, 60, data.verifier.start[0], (i) => percent(P(i)));
    const fpr = slider(figure, "Wrong answers that the verifier accepts", 0, 60, data.verifier.start[1], (i) => (i ? percent(F(i)) : "none"));
    const tpr = slider(figure, "Right answers that it accepts", 1, 100, data.verifier.start[2], (i) => i + " %");
    const ks = laws.geomspace(1, 1e5, 101);
    live(figure, H, (svg) => {
      const [c, f, t] = [P(p.value), fpr.value ? F(fpr.value) : 0, tpr.value / 100];
      const a = c * t + (1 - c) * f, share = a > 0 ? (c * t) / a : 0, rest = a < 1 ? (c * (1 - t)) / (1 - a) : 0;
      const none = (k) => Math.exp(k * Math.log1p(-a));
      const chosen = (k) => (1 - none(k)) * share + none(k) * rest;
      const at = axes(svg, { x: [1, 1e5], y: [0, 1.08], xName: "samples per question k", yName: "answers that are right", xText: two });
      line(at, ks.map((k) => [k, -Math.expm1(k * Math.log1p(-c))]), "t2-chance");
      line(at, ks.map((k) => [k, chosen(k)]), "t2-many");
      label(at, 1e5, 1, "perfect verifier", "t2-chance", -6, 16, "end");
      label(at, 1e5, chosen(1e5), "this verifier", "t2-many", -6, chosen(1e5) > 0.9 ? 30 : -8, "end");
      figure.dataset.value = String(chosen(1000));
      const limit = t < f ? "This verifier is worse than a coin: swap its answers." : `However many samples, this verifier finds the right answer ${percent(share)} of the time`
        + (f > c ? ": it accepts wrong answers more often than the model writes right ones, so train for one sample, or mend the verifier." : ".");
      return limit;
    }, [p, fpr, tpr]);
  }

  /** The answer of a bootstrap replicate, one click at a time. */
  function universe(figure) {
    const law = found.get(data.universe.law), setting = { cTrain: data.universe.C_train, cInf: data.universe.C_inf };
    const [lo, hi] = law.domain.N, best = engine.allocate(law, setting), top = best.value;
    const along = (value) => laws.geomspace(lo, Math.min(hi, setting.cInf / 2), 91).map((N) =>
      [N, value(N, setting.cTrain / (6 * N), Math.max(setting.cInf / (2 * N), 1)) / top]);
    const row = document.createElement("p"), drawn = [];
    row.className = "t2-control";
    for (const [text, count] of [["another universe", 1], ["fifty more", 50]]) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: text });
      button.addEventListener("click", () => {
        for (let i = 0; i < count && drawn.length < law.replicates.length; i++) {
          const value = law.replicates.at(drawn.length), points = along(value);
          drawn.push({ points, best: points.reduce((a, b) => (b[1] > a[1] ? b : a)) });
        }
        update();
      });
      row.append(button, " ");
    }
    figure.querySelector(".t2-controls").append(row);
    const update = live(figure, H, (svg) => {
      const at = axes(svg, { x: [lo, hi], y: [0, 1.4], xName: "model size N, parameters", yName: "pass@k, relative to the fit's best" });
      for (const { points } of drawn.slice(-60)) line(at, points, "t2-faint");
      for (const { best: [N] } of drawn) node(at.inside, "path", { d: `M${at.X(N)} ${at.Y(0)}v-14`, class: "t2-line t2-tick" });
      line(at, along(law.value), "t2-many");
      dot(at, best.N, 1, "t2-ring", 8);
      figure.dataset.value = String(drawn.length);
      if (!drawn.length) return `The fit to the measured runs puts the best size at ${size(best.N)}. Draw other training runs from the same pool, and fit again: what would the answer have been?`;
      const sizes = drawn.map((one) => one.best[0]).sort((a, b) => a - b);
      return `In ${drawn.length} other ${drawn.length === 1 ? "universe" : "universes"} the best size lies between ${size(sizes[0])} and ${size(sizes[sizes.length - 1])}; the fit to the real runs says ${size(best.N)}.`;
    }, []);
  }

  const FIGURES = { crown, slide, spread, verifier, universe };
  function script(name) {
    return new Promise((done, failed) => {
      const tag = document.createElement("script");
      Object.assign(tag, { src: "../_static/" + name, onload: done, onerror: () => failed(new Error(name + " is missing.")) });
      document.head.append(tag);
    });
  }

  async function start() {
    await script("play/data.js");
    await Promise.all(data.laws.map((name) => script("planner/" + name + ".js")));
    for (const [name, make] of Object.entries(FIGURES)) {
      const figure = document.getElementById("t2-play-" + name);
      if (figure) make(figure);
    }
  }

  // Without the data the still pictures stay, which is all that a reader needs to be told.
  if (document.querySelector(".t2-play")) start().catch((error) => console.warn(error.message));
})();
