/** A visible sign on a box whose text goes on below its edge; such a box scrolls, and takes the focus. */

/**
 * Watch a box for as long as the page lives. Its parent carries the sign: `scrolls` while the text is longer than the
 * box, `more` until its end is in view.
 * @param {HTMLElement} box
 */
export function markOverflow(box) {
  const frame = box.parentElement;
  const beyond = () => box.scrollHeight - box.clientHeight;
  const look = () => frame?.classList.toggle("more", beyond() - box.scrollTop > 1);
  const measure = () => {
    frame?.classList.remove("scrolls"); // the room for the sign does not belong to the text's length
    const scrolls = beyond() > 1;
    frame?.classList.toggle("scrolls", scrolls);
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    look();
  };
  box.addEventListener("scroll", look, { passive: true });
  new MutationObserver(measure).observe(box, { childList: true, characterData: true, subtree: true });
  new ResizeObserver(measure).observe(box);
}
