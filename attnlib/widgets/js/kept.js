/** What is made of an object, made once for each and kept as long as the object is. */
export function kept(make) {
  const known = new WeakMap();
  return (each) => known.get(each) ?? known.set(each, make(each)).get(each);
}
