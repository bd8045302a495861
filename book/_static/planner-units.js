/* Numbers as people write them: 1.4B, 1,000,000, 3 ZFLOP, "8 h100 x 21 d at 40%".
 *
 * The rules and the messages are those of t2lib.units.parse_quantity; tests/test_planner.py holds both
 * together. The peak rates of devices come from t2lib.devices through the index of laws.
 */
(function (root) {
  "use strict";

  const LONGEST = 80;
  const DIGITS = "(?:" + [",", "_", " "].map((c) => `\\d{1,3}(?:${c}\\d{3})+(?:\\.\\d+)?`)
    .concat("\\d+\\.?\\d*", "\\.\\d+").join("|") + ")";
  const POWER = "10 ?(?:\\^|\\*\\*) ?([+-]?\\d{1,3})", TIMES = "[x*\u00d7\u00b7]";
  const NUMBER = new RegExp(
    `^([+-]?)(?:${POWER}|(${DIGITS})(?:[eE]([+-]?\\d{1,3})| ?${TIMES} ?${POWER})?)(?![\\d.,])`);
  const words = (groups) => new Map(groups.flatMap(([text, value]) =>
    text.split(" ").map((word) => [word, value])));
  const SCALES = words([["thousand k K", 3], ["million M", 6], ["billion bn B b G", 9], ["trillion T t", 12]]);
  const FLOP_SCALES = words([["kilo k K", 3], ["mega M", 6], ["giga G g", 9], ["tera T t", 12],
    ["peta P p", 15], ["exa E", 18], ["zetta Z z", 21], ["yotta Y", 24]]).set("", 0);
  const UNITS = words([["token tokens tok", "tokens"], ["param params parameter parameters", "parameters"],
    ["sample samples", "samples"], ["question questions query queries", "questions"], ["byte bytes", "bytes"]]);
  const BYTES = words([["kB KB", 1e3], ["MB", 1e6], ["GB", 1e9], ["TB", 1e12],
    ["KiB", 2 ** 10], ["MiB", 2 ** 20], ["GiB", 2 ** 30], ["TiB", 2 ** 40]]);
  const SECONDS = words([["s sec second seconds", 1], ["min minute minutes", 60],
    ["h hr hour hours", 3600], ["d day days", 86400], ["w wk week weeks", 604800]]);
  const MONEY = "(?:[$\u20ac\u00a3]|USD|EUR|GBP)";
  const RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";
  const SHARE = "(?: ?(?:at|@) ?(\\d+\\.?\\d*|\\.\\d+) ?(%?)(?: ?mfu)?)?";
  const DEVICES_FOR = new RegExp(`^(?:(${DIGITS}) ?(?:[x*\u00d7] ?)?)?([a-z][a-z0-9 _-]*?) ?(?:[x*\u00d7]|for) ?`
    + `(${DIGITS}) ?([a-z]+)${SHARE}$`);
  const DEVICE_HOURS = new RegExp(`^(${DIGITS}) ?([a-z][a-z0-9 _-]*?)[ -]?(hours?|h|days?|d)${SHARE}$`);
  const PF_DAYS = /^(?:pf|pfs|pflop|petaflop)(?:\/s)?[ -]days?$/i;

  const bare = (text) => text.replace(/[,_ ]/g, "");

  /** Number that a text means, or an Error that says what is needed.
   *
   * options: name (what messages call it), unit ("FLOPs", "tokens", ...), mfu, devices (peak FLOP/s
   * by spelling).
   */
  function parseQuantity(value, { name = "value", unit = null, mfu = null, devices = {} } = {}) {
    const refuse = (need, remedy, shown) => {
      const error = new Error(`${name} must be ${need}, got '${shown === undefined ? value : shown}'. ${remedy}`);
      throw Object.assign(error, { remedy });
    };
    const text = tidy(value, refuse);
    let result = deviceTime(text, mfu, devices, refuse), measured = "FLOPs";
    if (result === null) [result, measured] = counted(text, refuse);
    if (unit !== null && measured !== null && measured !== unit)
      refuse("in " + unit, "It is in " + measured + ": leave the unit out or convert.");
    if (!Number.isFinite(result)) refuse("finite", "Give a smaller number.");
    return result;
  }

  function tidy(value, refuse) {
    if ([...value].length > LONGEST)
      refuse(`at most ${LONGEST} characters`, "Write it shorter.", [...value].slice(0, 40).join("") + "...");
    const text = value
      .replace(new RegExp(`[${RAISED}]+`, "g"), (m) => "^" + [...m].map((c) => RAISED.indexOf(c)).join(""))
      .replace(/\u2212/g, "-").replace(/[ \t\n\r\f\v\u00a0\u2009\u202f]+/g, " ").replace(/^ | $/g, "");
    if (!text) refuse("a number such as 1.4B, 5M or 1e21", "Type one.");
    if (!/^[ -~\u00d7\u00b7\u20ac\u00a3]*$/.test(text))
      refuse("a number such as 1.4B, 5M or 1e21", "Leave out other signs.");
    return text;
  }

  /** A number with its scale, and the unit that the text names. */
  function counted(text, refuse) {
    const match = NUMBER.exec(text);
    if (!match) explain(text, refuse);
    const [whole, sign, power, digits, exponent, times] = match;
    const [scale, factor, unit] = scaled(text, text.slice(whole.length).trim(), refuse);
    const e = Number((power !== undefined ? power : exponent || times) || 0) + scale;
    return [Number(`${sign}${power !== undefined ? "1" : bare(digits)}e${e}`) * factor, unit];
  }

  function scaled(text, word, refuse) {
    if (!word) return [0, 1, null];
    if (BYTES.has(word)) return [0, BYTES.get(word), "bytes"];
    if (PF_DAYS.test(word)) return [15, 86400, "FLOPs"];
    if (/FLOPS$|flops?\/s|flops? per s/.test(word) || /\/s$/.test(word.toLowerCase()))
      refuse("a number of FLOPs, not a rate",
        "Multiply by the seconds, or give device time such as 8 h100 x 21 d at 40%.");
    const flop = /^([A-Za-z]*?) ?flops?$/i.exec(word);
    if (flop && !/S$/.test(word)) {
      const prefix = FLOP_SCALES.has(flop[1]) ? flop[1] : flop[1].toLowerCase();
      if (FLOP_SCALES.has(prefix)) return [FLOP_SCALES.get(prefix), 1, "FLOPs"];
      if (SCALES.has(prefix)) return [SCALES.get(prefix), 1, "FLOPs"];
    }
    for (const [spelling, scale] of [...SCALES, ["", 0]])
      if (word.startsWith(spelling)) {
        const rest = word.slice(spelling.length).trim().toLowerCase();
        if (!rest || UNITS.has(rest)) return [scale, 1, rest ? UNITS.get(rest) : null];
      }
    return explain(text, refuse);
  }

  /** FLOPs of "8 h100 x 21 d", or null if the text says no such thing. */
  function deviceTime(text, mfu, devices, refuse) {
    const lower = text.toLowerCase();
    let match = DEVICES_FOR.exec(lower), count, kind, digits, word, share, percent;
    if (match && (SECONDS.has(match[4]) || match[4] === "m")) {
      [, count, kind, digits, word, share, percent] = match;
    } else {
      match = DEVICE_HOURS.exec(lower);
      if (!match || ["pf", "pfs", "pflop", "petaflop"].includes(match[2])) return null;
      [, digits, kind, word, share, percent] = match;
    }
    if (["gpu", "gpus", "device", "devices"].includes(kind.trim()))
      refuse("device time of a named device", "Write h100 in place of gpu.");
    const each = word === "m" ? 60 : SECONDS.get(word);
    const seconds = (count === undefined ? 1 : Number(bare(count))) * Number(bare(digits)) * each;
    if (share !== undefined) mfu = percent ? Number(share) / 100 : Number(share);
    if (mfu === null)
      refuse("device time with the share of the peak rate that training reaches (MFU)",
        "Add it, as in 8 h100 x 21 d at 40%.");
    if (!(mfu > 0 && mfu <= 1)) refuse("device time with an MFU in (0, 1]", "Write 40% or 0.4.");
    const key = kind.trim().replace(/[\s_-]|^nvidia|^amd|^google/g, "");
    if (!Object.prototype.hasOwnProperty.call(devices, key))
      refuse("device time of a known device (" + Object.keys(devices).join(", ") + ")",
        "For another device give the budget in FLOPs: devices x seconds x peak FLOP/s x MFU.");
    return devices[key] * seconds * mfu;
  }

  function explain(text, refuse) {
    const need = "a number such as 1.4B, 5M, 1,000,000 or 1e21";
    if (/^[+-]?\d[\d.]* ?m\b/.test(text) || /^[+-]?\d[\d.]* ?m(?:flop|tok)/.test(text))
      refuse(need, "m could be million or minutes: write M, or 1e6.", text);
    const time = new RegExp(`^${DIGITS} ?([a-z]+)$`).exec(text);
    if (time && SECONDS.has(time[1]))
      refuse(need, "A time is not one: name devices, as in 8 h100 x 21 d at 40%.", text);
    if (/^[+-]?\d+,\d/.test(text))
      refuse(need, "The comma groups thousands: write 1.5, or 1,500.", text);
    if (/^[+-]?\d+\.\d+\./.test(text)) refuse(need, "Group thousands with commas: 1,000,000.", text);
    if (new RegExp("^" + MONEY).test(text))
      refuse(need, "Money goes where an amount or a price belongs.", text);
    return refuse(need, "Scales are k, M, B, T; FLOPs also P, E, Z, as in 3 ZFLOP.", text);
  }

  /* ---- numbers as text ---- */

  /** Two digits: intervals are wide, and more would claim what no fit knows. */
  function round2(x) {
    const y = Number(x.toPrecision(2));
    if (y >= 1e5 || (y < 1e-3 && y > 0)) return y.toExponential().replace("e+", "e");
    return y.toLocaleString("en-US", { maximumSignificantDigits: 2 });
  }
  function size2(x) {
    const y = Number(x.toPrecision(2));
    for (const [unit, name] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]])
      if (y >= unit) return round2(y / unit) + name;
    return round2(y);
  }

  root.t2units = { parseQuantity, round2, size2 };
})(typeof window === "undefined" ? globalThis : window);
