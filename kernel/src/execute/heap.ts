/** A binary heap: the least item by `compare` comes out first. */
export class Heap<T> {
  private readonly items: T[] = []

  constructor(private readonly compare: (a: T, b: T) => number) {}

  push(item: T): void {
    const { items } = this
    let i = items.push(item) - 1
    for (let parent = (i - 1) >> 1; i > 0 && this.compare(item, items[parent]) < 0; parent = (i - 1) >> 1) {
      items[i] = items[parent]
      i = parent
    }
    items[i] = item
  }

  pop(): T | undefined {
    const { items } = this
    const least = items[0]
    const last = items.pop()
    if (last === undefined || items.length === 0) return least
    let i = 0
    for (let child = 1; child < items.length; child = 2 * i + 1) {
      if (child + 1 < items.length && this.compare(items[child + 1], items[child]) < 0) child++
      if (this.compare(last, items[child]) <= 0) break
      items[i] = items[child]
      i = child
    }
    items[i] = last
    return least
  }
}
