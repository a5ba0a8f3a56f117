/** Finding elements that must be there, and telling screen readers what happened. */

/**
 * @param {string} id
 * @returns {HTMLElement} the element; a template without it is a mistake of ours
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * Say something in the page's polite live region.
 * @param {string} text
 */
export function announce(text) {
  byId("announce").textContent = text;
}
