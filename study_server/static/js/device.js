/** What the page can know of the screen: for the screening, and for each vote. */

/**
 * @returns {{w: number, h: number, dpr: number}} the window in CSS pixels and the device pixels per CSS pixel
 */
export function viewport() {
  return { w: window.innerWidth, h: window.innerHeight, dpr: window.devicePixelRatio };
}

/**
 * The browser's page zoom, where it can be known: the window's outer width is in unzoomed pixels, the inner one
 * in zoomed ones. Not on touch devices (no page zoom there, but a pinched view) and not in an iframe.
 * @returns {number|null} 1 means 100 %
 */
export function pageZoom() {
  if (isTouch()) return Math.round((window.visualViewport?.scale ?? 1) * 100) / 100;
  if (window.top !== window || window.outerWidth === 0) return null;
  const ratio = window.outerWidth / window.innerWidth;
  // Window borders and scroll bars take a few pixels, so the ratio is off by up to a few percent.
  const levels = [0.25, 0.33, 0.5, 0.67, 0.75, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5];
  const level = levels.reduce((best, one) => (Math.abs(one - ratio) < Math.abs(best - ratio) ? one : best));
  return Math.abs(level / ratio - 1) < 0.06 ? level : null;
}

/** @returns {boolean} whether the main pointer is a finger */
export function isTouch() {
  return window.matchMedia("(pointer: coarse)").matches;
}

/** @returns {"rec2020"|"p3"|"srgb"|null} */
export function colorGamut() {
  for (const gamut of /** @type {const} */ (["rec2020", "p3", "srgb"])) {
    if (window.matchMedia(`(color-gamut: ${gamut})`).matches) return gamut;
  }
  return null;
}

/** @returns {object} the fields of the screening report that need no answer from the person */
export function deviceFacts() {
  return {
    viewport_width: window.innerWidth,
    viewport_height: window.innerHeight,
    screen_width: window.screen.width,
    screen_height: window.screen.height,
    device_pixel_ratio: window.devicePixelRatio,
    zoom: pageZoom(),
    touch: isTouch(),
    color_gamut: colorGamut(),
    dark_mode: window.matchMedia("(prefers-color-scheme: dark)").matches,
  };
}
