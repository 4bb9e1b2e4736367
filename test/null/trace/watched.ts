/** Columns that count how often they are read: what a function costs, without a clock. */
export interface Watch {
  reads: number
}

/** The same data; reading an element of a column, however deep it lies, counts. */
export function watched<T extends object>(data: T, watch: Watch): T {
  if (ArrayBuffer.isView(data)) {
    return new Proxy(data, {
      get(column, key) {
        watch.reads++
        const found: unknown = Reflect.get(column, key, column)
        return typeof found === 'function' ? found.bind(column) : found
      },
    })
  }
  const entries = Object.entries(data).map(([key, value]) => [key, typeof value === 'object' && value !== null ? watched(value, watch) : value])
  return Array.isArray(data) ? (entries.map(([, value]) => value) as unknown as T) : (Object.fromEntries(entries) as T)
}
