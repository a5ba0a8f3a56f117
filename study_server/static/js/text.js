/** The words of the page, read from the same JSON catalogue that the server renders its templates from. */

/** @type {Record<string, string>} */
let texts = {};
let plurals = new Intl.PluralRules("en");
let numbers = new Intl.NumberFormat("en");

/** Load the catalogue of the page's language. Rejects if it cannot be loaded: a page without words is useless. */
export async function loadTexts() {
  const root = document.documentElement;
  const response = await fetch(`${root.dataset.static}/i18n/${root.lang}.json`);
  if (!response.ok) throw new Error(`catalogue ${root.lang}: ${response.status}`);
  texts = await response.json();
  plurals = new Intl.PluralRules(root.lang);
  numbers = new Intl.NumberFormat(root.lang, { maximumFractionDigits: 2 });
}

/**
 * The text of a key with its {placeholders} filled.
 * @param {string} key
 * @param {Record<string, string|number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = texts[key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    if (value === undefined) throw new Error(`text ${key} needs a value for ${name}`);
    return typeof value === "number" ? numbers.format(value) : value;
  });
}

/**
 * The plural form of a key (`key.one`, `key.other`, ...) for the number n; falls back to `key.other`.
 * @param {string} key
 * @param {number} n
 * @param {Record<string, string|number>} [values]
 * @returns {string}
 */
export function tn(key, n, values = {}) {
  const form = `${key}.${plurals.select(n)}`;
  return t(form in texts ? form : `${key}.other`, { n, ...values });
}
