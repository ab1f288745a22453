/** Numbers and names as text. Pure; every function returns a string. */

const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

// What could hide, reorder or break the text around a name that a server chose.
const UNPRINTABLE = new RegExp(
  "[\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e" +
    "\\u2060-\\u206f\\ufe00-\\ufe0f\\ufeff\\ufff0-\\ufffb]",
  "gu",
);
const NAME_CHARACTERS = 60;
const TEXT_CHARACTERS = 400;

/** Three digits, as far as they are known: 0.123, 1.23, 12.3, 123. */
function threeDigits(value) {
  const size = Math.abs(value);
  if (size >= 99.95) return value.toFixed(0);
  if (size >= 9.995) return value.toFixed(1);
  return value.toFixed(2);
}

/** A number of bytes, in steps of 1000. */
export function bytes(count) {
  if (!Number.isFinite(count)) return "–";
  let unit = 0;
  while (Math.abs(count) >= 999.5 && unit < BYTE_UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(count) : threeDigits(count)} ${BYTE_UNITS[unit]}`;
}

/** Bytes a second. */
export function rate(perSecond) {
  return Number.isFinite(perSecond) ? `${bytes(perSecond)}/s` : "–";
}

/** A length of time. */
export function seconds(length) {
  if (length === null || !Number.isFinite(length)) return "–";
  const size = Math.abs(length);
  if (size === 0) return "0 s";
  if (size < 0.0009995) return `${Math.round(length * 1e6)} µs`;
  if (size < 0.9995) return `${threeDigits(length * 1000)} ms`;
  if (size < 119.5) return `${threeDigits(length)} s`;
  if (size < 7170) return `${Math.floor(length / 60)} min ${Math.round(length % 60)} s`;
  return `${Math.floor(length / 3600)} h ${Math.round((length % 3600) / 60)} min`;
}

/** A whole number, its thousands set apart. */
export function count(number) {
  return Number.isFinite(number) ? number.toLocaleString("en-US") : "–";
}

/** "1 read", "2 reads", "1,234 reads". */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** A share of a whole, in per cent. */
export function percent(part, whole) {
  return whole > 0 ? `${Math.round((100 * part) / whole)} %` : "–";
}

/** The local date and time of day. */
export function when(unixSeconds) {
  const date = new Date(unixSeconds * 1000);
  if (Number.isNaN(date.getTime())) return "–";
  const two = (number) => String(number).padStart(2, "0");
  return (
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  );
}

/** Text of somebody else's: one line, nothing that hides or reorders, not too long. */
export function tidy(text, most = TEXT_CHARACTERS) {
  const clean = String(text).replace(UNPRINTABLE, "\u00b7").trim();
  const characters = Array.from(clean);
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : clean;
}

/** A server's name, which its operator chose; the id stands in for an empty one. */
export function serverName(server) {
  return tidy(server.name, NAME_CHARACTERS) || tidy(server.serverid, NAME_CHARACTERS) || "unnamed";
}

/** "3-of-10", or as much of it as is known. */
export function encoding(summary) {
  return summary.k ? `${summary.k}-of-${summary.n ?? "?"}` : "unknown";
}
