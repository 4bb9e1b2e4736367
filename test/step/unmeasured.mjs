/** Devices that take their rates as given: to measure them takes both cores for most of a second, and few tests are about what they are. */

const FLOPS_PER_SECOND = 1e12
const MEMORY_BOUND = Number.POSITIVE_INFINITY
/** Of no machine, and beyond any that tests run on: where MFU is above 1, the peak is measured again. */
const RATES = {
  peakFlopsPerSecond: FLOPS_PER_SECOND * 1e3,
  rates: {
    flopsPerSecond: {
      ...{ attention: FLOPS_PER_SECOND, projection: FLOPS_PER_SECOND, loss: FLOPS_PER_SECOND },
      ...{ elementwise: MEMORY_BOUND, optimizer: MEMORY_BOUND, collective: MEMORY_BOUND, offload: MEMORY_BOUND, fetch: MEMORY_BOUND, disk: MEMORY_BOUND },
    },
    memoryBytesPerSecond: 1e11,
    copyBytesPerSecond: 1e10,
    linkBytesPerSecond: 1e10,
    opOverhead_ns: 20_000,
  },
}

/** Lets no device of a class measure; like one that does, it knows its rates once it was asked for them. Tests have the class from the sources, their processes from what is built. */
export function unmeasured(Device) {
  const asked = new WeakMap()
  Object.assign(Device.prototype, {
    rates(dtype = 'bf16') {
      asked.set(this, (asked.get(this) ?? new Set()).add(dtype))
      return { dtype, ...RATES }
    },
    knowsRates(dtype) {
      return asked.get(this)?.has(dtype) ?? false
    },
    measurePeak(dtype) {
      return this.rates(dtype).peakFlopsPerSecond
    },
  })
}
