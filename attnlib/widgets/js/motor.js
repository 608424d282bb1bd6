// What goes on from frame to frame, and rests where nobody sees it.

/**
 * `work(now)` does a little and says whether there is more; `wake()` calls it in the next frame. Nothing is done while
 * the widget's tab is hidden, nor while it is out of sight, unless `rests()` says that this should be done all the same.
 * In no page, as for print, `work(Infinity)` is to do all at once.
 */
export function motor(root, work, rests = () => true) {
  let [request, sight] = [0, true];
  const able = () => (sight || !rests()) && root.isConnected && !document.hidden;
  function frame(now) {
    request = 0;
    if (able() && work(now)) wake();
  }
  function wake() {
    if (!request && able()) request = requestAnimationFrame(frame);
  }
  function watch() {
    if (!root.isConnected) return work(Infinity);
    const seen = (entries) => {
      sight = entries.at(-1).isIntersecting;
      wake();
    };
    if (globalThis.IntersectionObserver) new IntersectionObserver(seen).observe(root);
    document.addEventListener("visibilitychange", wake);
    return wake();
  }
  queueMicrotask(watch);
  return wake;
}
