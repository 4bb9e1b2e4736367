import { defineConfig } from 'vitest/config'

const source = (path: string): string => new URL(path, import.meta.url).pathname

/** One runner for all code of ours. Folders of `test/` say what a test needs; `test/run.mjs` runs them in order. */
export default defineConfig({
  resolve: {
    alias: [
      { find: /^fpdt$/, replacement: source('kernel/src/fpdt/index.ts') },
      { find: /^fpdt\/trace$/, replacement: source('kernel/src/trace/index.ts') },
      { find: /^@fpdt\/native$/, replacement: source('native/index.ts') },
    ],
  },
  // Against what hangs, not against what is slow on a busy machine: a test that is cut off goes on beneath the next one.
  test: { include: ['test/**/*.test.ts'], testTimeout: 180_000, hookTimeout: 120_000 },
})
