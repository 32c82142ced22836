// Handles on a plotly figure: lines and points that the user drags, or moves with the arrow keys.

/**
 * Draw the handles that `layout.meta.handles` lists, and keep them in place as the figure is zoomed, resized and drawn again.
 * A handle is { id, kind, label, x, y, x0, x1, y0, y1, color }: kind is "x" (a vertical line at x), "y" (a horizontal line at y) or
 * "point"; x0 to x1 and y0 to y1 are where it can be moved, in the numbers of the axes. With `anywhere`, a click in the plot moves it.
 * An `idle` handle limits nothing yet: its line is drawn only while it is moved.
 * onMove gets { id, x, y } when the user has moved a handle. Handles keep the focus, so that keys can be pressed again and again.
 */
export function drawHandles(node, handles, onMove) {
  node.nesMove = onMove;
  node.nesHandles ??= new Map();
  const known = node.nesHandles;
  for (const [id, handle] of known) {
    if (handles.some((each) => each.id === id)) continue;
    handle.element.remove();
    known.delete(id);
  }
  node.style.position = "relative";
  node.setAttribute("role", handles.length ? "group" : "img"); // readers of the screen do not look into a picture
  for (const spec of handles) {
    if (!known.has(spec.id)) known.set(spec.id, makeHandle(node));
    const handle = known.get(spec.id);
    handle.spec = spec;
    if (!handle.dragged) handle.at = { x: spec.x, y: spec.y };
    if (handle.element.parentNode !== node) node.append(handle.element); // moving it would take its focus
    placeHandle(node, handle);
  }
  if (node.nesHandlesFollow) return;
  node.nesHandlesFollow = true;
  node.on("plotly_afterplot", () => node.nesHandles.forEach((handle) => placeHandle(node, handle)));
  node.on("plotly_relayouting", () => node.nesHandles.forEach((handle) => placeHandle(node, handle)));
  followClicks(node);
}

const GRIP = 7; // half of a grip, in pixels
const SECONDS_OF_KEYS = 0.3; // the answer is asked for when no key was pressed for so long

function makeHandle(node) {
  const element = document.createElement("div");
  const line = document.createElement("div");
  const grip = document.createElement("div");
  element.className = "nes-handle";
  element.tabIndex = 0;
  element.setAttribute("role", "slider");
  element.append(line, grip);
  const handle = { element, line, grip, at: {}, dragged: false };
  element.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    event.stopPropagation();
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    handle.dragged = true;
    const from = { ...handle.at };
    const move = (moved) => moveTo(node, handle, pixels(node, moved));
    const end = (last) => {
      element.removeEventListener("pointermove", move);
      handle.dragged = false;
      placeHandle(node, handle);
      if (last.type === "pointerup" && (from.x !== handle.at.x || from.y !== handle.at.y)) send(node, handle);
    };
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerup", end, { once: true });
    element.addEventListener("pointercancel", end, { once: true });
  });
  element.addEventListener("keydown", (event) => {
    const place = keyPlace(node, handle, event);
    if (!place) return;
    event.preventDefault();
    event.stopPropagation();
    moveTo(node, handle, place);
    clearTimeout(handle.timer);
    handle.timer = setTimeout(() => send(node, handle), 1000 * SECONDS_OF_KEYS);
  });
  return handle;
}

/** Where a key moves a handle, in pixels of the plot; null for other keys. */
function keyPlace(node, handle, event) {
  const { xaxis, yaxis } = node._fullLayout;
  const { kind, x0, x1, y0, y1 } = handle.spec;
  const at = { x: xaxis.d2p(handle.at.x ?? x0), y: yaxis.d2p(handle.at.y ?? y0) };
  const far = event.shiftKey ? 0.1 : 0.01;
  const step = { x: far * xaxis._length, y: far * yaxis._length };
  const upright = kind === "y" ? "y" : "x"; // along a single axis, all four arrows move the handle
  if (event.key === "Home") return { ...at, [upright]: upright === "x" ? xaxis.d2p(x0) : yaxis.d2p(y0) };
  if (event.key === "End") return { ...at, [upright]: upright === "x" ? xaxis.d2p(x1) : yaxis.d2p(y1) };
  const sign = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1 }[event.key];
  if (!sign) return null;
  const axis = kind !== "point" ? upright : event.key === "ArrowLeft" || event.key === "ArrowRight" ? "x" : "y";
  return axis === "x" ? { ...at, x: at.x + sign * step.x } : { ...at, y: at.y - sign * step.y };
}

/** The place of a pointer in pixels from the corner of the plot. */
function pixels(node, event) {
  const box = node.getBoundingClientRect();
  const { xaxis, yaxis } = node._fullLayout;
  return { x: event.clientX - box.left - xaxis._offset, y: event.clientY - box.top - yaxis._offset };
}

function moveTo(node, handle, place) {
  const { xaxis, yaxis } = node._fullLayout;
  const { kind, x0, x1, y0, y1 } = handle.spec;
  const within = (value, low, high) => Math.min(Math.max(value, low ?? -Infinity), high ?? Infinity);
  if (kind !== "y") handle.at.x = within(xaxis.p2d(place.x), x0, x1);
  if (kind !== "x") handle.at.y = within(yaxis.p2d(place.y), y0, y1);
  placeHandle(node, handle);
}

function send(node, handle) {
  node.nesMove?.({ id: handle.spec.id, x: handle.at.x ?? null, y: handle.at.y ?? null });
}

function placeHandle(node, handle) {
  const { xaxis, yaxis } = node._fullLayout;
  const { element, line, grip, spec, at } = handle;
  const { kind, label, color } = spec;
  const x = kind === "y" ? xaxis._length : xaxis.d2p(at.x);
  const y = kind === "x" ? 0 : yaxis.d2p(at.y);
  const shown = x >= -1 && x <= xaxis._length + 1 && y >= -1 && y <= yaxis._length + 1;
  const size = { x: [2 * GRIP, yaxis._length], y: [xaxis._length, 2 * GRIP], point: [2 * GRIP + 8, 2 * GRIP + 8] }[kind];
  const corner = { x: [x - GRIP, 0], y: [0, y - GRIP], point: [x - GRIP - 4, y - GRIP - 4] }[kind];
  const cursor = { x: "ew-resize", y: "ns-resize", point: "grab" }[kind];
  // touch-action: a finger on a handle moves it, and does not scroll the page
  element.style.cssText = `position:absolute;z-index:5;touch-action:none;cursor:${cursor};display:${shown ? "block" : "none"};
    left:${corner[0] + xaxis._offset}px;top:${corner[1] + yaxis._offset}px;width:${size[0]}px;height:${size[1]}px`;
  line.style.cssText = `position:absolute;background:${color};pointer-events:none;display:${kind === "point" || (spec.idle && !handle.dragged) ? "none" : "block"};
    ${kind === "x" ? `left:${GRIP - 1}px;top:0;bottom:0;width:2px` : `top:${GRIP - 1}px;left:0;right:0;height:2px`}`;
  const grips = { x: "left:0;top:0", y: `right:0;top:0`, point: "left:4px;top:4px" }[kind];
  grip.style.cssText = `position:absolute;box-sizing:border-box;border-radius:50%;width:${2 * GRIP}px;height:${2 * GRIP}px;
    border:2px solid white;background:${color};box-shadow:0 0 3px rgba(0,0,0,.5);pointer-events:none;${grips}`;
  const [value, low, high] = kind === "y" ? [at.y, spec.y0, spec.y1] : [at.x, spec.x0, spec.x1];
  element.setAttribute("aria-label", label);
  element.setAttribute("aria-orientation", kind === "y" ? "vertical" : "horizontal");
  element.setAttribute("aria-valuenow", value);
  if (low != null) element.setAttribute("aria-valuemin", low);
  if (high != null) element.setAttribute("aria-valuemax", high);
  if (kind === "point") element.setAttribute("aria-valuetext", `${at.x}, ${at.y}`);
}

/** A click in the plot moves the handle with `anywhere`. A drag there zooms, as always. */
function followClicks(node) {
  let from = null;
  node.addEventListener(
    "pointerdown",
    (event) => {
      from = event.target.closest?.(".nsewdrag") && event.button === 0 ? [event.clientX, event.clientY] : null;
    },
    true,
  );
  window.addEventListener(
    "pointerup",
    (event) => {
      if (!from || !node.isConnected) return;
      const moved = Math.hypot(event.clientX - from[0], event.clientY - from[1]);
      from = null;
      const handle = [...node.nesHandles.values()].find((each) => each.spec.anywhere);
      if (!handle || moved > 3) return;
      moveTo(node, handle, pixels(node, event));
      handle.element.focus({ preventScroll: true });
      send(node, handle);
    },
    true,
  );
}
