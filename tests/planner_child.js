/* Runs cases through the planner's scripts, for tests/test_planner_fuzz.py: lines of JSON in and out.
 *
 * A case is {"text": …} (parse it), or {"file": the content of a law file, "settings": […]}. Before each
 * case its number is written, so that the one that never ends is known.
 */
"use strict";
const path = require("path"), fs = require("fs");
for (const name of ["units", "laws", "engine", "runs"])
  require(path.join(__dirname, "..", "book", "_static", `planner-${name}.js`));
const { t2units: units, t2laws: laws, t2engine: engine, t2runs: own } = globalThis;
const write = (body) => fs.writeSync(1, JSON.stringify(body) + "\n");

/** All that the page asks the engine for before it shows an answer, and the first interval steps. */
function answer(law, setting) {
  const best = engine.allocate(law, setting), single = engine.oneSample(law, setting);
  const lo = Math.max(Math.min(best.N, single.N) / 30, 1), hi = Math.max(best.N, single.N) * 30;
  const many = engine.isoflop(law, setting, lo, hi, 120, false);
  const [low, high] = engine.span(many.map((p) => p.value), law.sense, best.value);
  const marks = [engine.ticks(low, high), engine.decades(lo, hi)];
  const [from, to] = engine.goodEnough(law, setting, best, 0.05);
  const out = { N: best.N, D: best.D, k: best.k, value: best.value, bound: best.bound, low, high, marks };
  out.good = [from.N, to.N];
  const verdict = engine.judge(law, best);
  out.reasons = verdict.reasons.map((reason) => reason.name || reason.kind);
  Object.assign(out, { chance: verdict.chance, slope: verdict.slope, nearest: verdict.nearest[0] || null });
  if (law.replicates) {
    const steps = engine.intervals(law, setting, best, 0.95);
    for (let i = 0; i < 3; i++) steps.next();
    engine.bands(law, many, 0.95).next();
  }
  return out;
}

/** A table of checkpoints, and what the page says of a law on them. */
function ofRuns(body) {
  const table = own.parseRuns(body.runs, {});
  if (body.file === undefined) return table;
  const law = laws.parseLaw(body.file, "a file"), cells = own.cellsOf(law, table);
  const near = cells && engine.nearest(Object.assign({}, law, { evidence: { cells } }), body.at, 1)[0];
  return { ...table, error: cells && own.errorOf(law, table), near };
}

function run(body) {
  if (body.text !== undefined) return [units.parseQuantity(body.text, body.options)];
  if (body.runs !== undefined) return [ofRuns(body)];
  const law = laws.parseLaw(body.file, "a file");
  return body.settings.map((setting) => {
    try { return answer(law, setting); } catch (error) { return { message: error.message }; }
  });
}

for (const [i, line] of fs.readFileSync(0, "utf8").trim().split("\n").entries()) {
  write({ start: i });
  const from = performance.now();
  let body;
  try { body = { answers: run(JSON.parse(line)) }; } catch (error) {
    body = { message: error.message, remedy: error.remedy, kind: error.constructor.name };
  }
  write({ end: i, seconds: (performance.now() - from) / 1e3, ...body });
}
