/**
 * Which libraries of TypeScript (`lib`) say what this Node has. Its version could be looked up in a table, which would be wrong with the next one:
 * each library is there when the newest thing it declares is. Executor and supervisor run on the same Node.
 */

/** What every supported Node has. */
const OLDEST = 'es2023'

/** Beyond that: what tells that a library is there. None is listed that no Node has. */
export const PROBES: Readonly<Record<string, () => boolean>> = {
  'es2024.arraybuffer': () => 'transfer' in ArrayBuffer.prototype,
  'es2024.collection': () => 'groupBy' in Map,
  'es2024.object': () => 'groupBy' in Object,
  'es2024.promise': () => 'withResolvers' in Promise,
  'es2024.regexp': () => 'unicodeSets' in RegExp.prototype,
  'es2024.sharedmemory': () => 'waitAsync' in Atomics && 'grow' in SharedArrayBuffer.prototype,
  'es2024.string': () => 'isWellFormed' in String.prototype,
  'es2025.collection': () => 'union' in Set.prototype,
  'es2025.float16': () => 'Float16Array' in globalThis,
  'es2025.intl': () => 'DurationFormat' in Intl,
  'es2025.iterator': () => 'Iterator' in globalThis,
  'es2025.promise': () => 'try' in Promise,
  'es2025.regexp': () => 'escape' in RegExp,
  'esnext.array': () => 'fromAsync' in Array,
  'esnext.collection': () => 'getOrInsert' in Map.prototype,
  'esnext.disposable': () => 'DisposableStack' in globalThis,
  'esnext.error': () => 'isError' in Error,
  'esnext.sharedmemory': () => 'pause' in Atomics,
  'esnext.typedarrays': () => 'toBase64' in Uint8Array.prototype,
  'esnext.temporal': () => 'Temporal' in globalThis,
}

export function libraries(): string[] {
  return [OLDEST, ...Object.keys(PROBES).filter((name) => PROBES[name]?.())]
}
