/** Wheel, drag, pinch and click on the stage, turned into calls of the viewer. */

/** @typedef {import("./viewer.js").Viewer} Viewer */

const WHEEL_STEP = 60; // pixels of wheel travel for one step; a notch of a mouse wheel is 100 to 120
const PINCH_WHEEL_STEP = 12; // a touchpad's pinch arrives as small wheel turns with Ctrl
const CLICK_SLACK = 5; // CSS pixels a click may wander

/**
 * @param {HTMLElement} stage
 * @param {Viewer} viewer
 */
export function listenToGestures(stage, viewer) {
  listenToWheel(stage, viewer);
  listenToPointers(stage, viewer);
}

/**
 * @param {HTMLElement} stage
 * @param {Viewer} viewer
 */
function listenToWheel(stage, viewer) {
  let travel = 0;
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const size = event.ctrlKey ? PINCH_WHEEL_STEP : WHEEL_STEP;
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : WHEEL_STEP;
    if (Math.sign(travel) !== Math.sign(event.deltaY)) travel = 0;
    travel += event.deltaY * unit;
    if (Math.abs(travel) < size) return;
    viewer.zoomStep(travel < 0 ? 1 : -1, viewer.locate(event.clientX, event.clientY));
    travel = 0;
  }, { passive: false });
}

/**
 * One pointer drags (or clicks, which centres), two pinch.
 * @param {HTMLElement} stage
 * @param {Viewer} viewer
 */
function listenToPointers(stage, viewer) {
  /** @type {Map<number, PointerEvent>} */
  const pointers = new Map();
  let wandered = 0;
  let pinched = false;

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || (event.target instanceof Element && event.target.closest("button"))) return;
    if (pointers.size === 0) {
      wandered = 0;
      pinched = false;
    }
    pointers.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
    stage.focus({ preventScroll: true });
  });

  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const ratio = window.devicePixelRatio;
    if (pointers.size === 1) {
      const delta = { x: event.clientX - before.clientX, y: event.clientY - before.clientY };
      wandered += Math.hypot(delta.x, delta.y);
      viewer.panBy({ x: delta.x * ratio, y: delta.y * ratio });
    } else if (pointers.size === 2) {
      pinched = true;
      const other = [...pointers.values()].find((one) => one.pointerId !== event.pointerId);
      if (other) pinch(viewer, before, event, other);
    }
    pointers.set(event.pointerId, event);
  });

  const end = (/** @type {PointerEvent} */ event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (pinched) {
      if (pointers.size === 0) viewer.settle();
    } else if (event.type === "pointerup" && wandered < CLICK_SLACK && viewer.zoomed) {
      viewer.centreOn(viewer.locate(event.clientX, event.clientY));
    }
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
}

/**
 * One finger of two has moved: scale by the change of distance, move by half of the finger's way.
 * @param {Viewer} viewer
 * @param {PointerEvent} before
 * @param {PointerEvent} now
 * @param {PointerEvent} other
 */
function pinch(viewer, before, now, other) {
  const ratio = window.devicePixelRatio;
  const distance = (/** @type {PointerEvent} */ one) =>
    Math.max(1, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY));
  const middle = viewer.locate((now.clientX + other.clientX) / 2, (now.clientY + other.clientY) / 2);
  viewer.zoomTo(viewer.scale * (distance(now) / distance(before)), middle);
  viewer.panBy({
    x: ((now.clientX - before.clientX) / 2) * ratio,
    y: ((now.clientY - before.clientY) / 2) * ratio,
  });
}
