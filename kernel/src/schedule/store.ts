/**
 * Where values wait between uses. A store is a tier with four verbs, so that a generator says *that* a value waits and a
 * policy says *where*: the same layer runs with its chunks on the device (nothing moves), on the host (FPDT), or on disk.
 *
 *                device        host               disk
 *   save         -             offload            offload spill, free host       a copy waits; the device's stays
 *   bring        -             fetch              load fetch, free host          back to the device; the waiting one stays
 *   release      -             free device        free device                    until the next `bring`
 *   forget       -             free host          free disk                      the device's stays and nothing waits any more
 *   end          free device   free host          free disk                      nothing is left; it was not on the device
 *
 * `put` is save and release: the value waits. `take` is bring and forget: it is an ordinary one of the device again.
 */
import type { Tier } from '../trace/schema.js'
import { fetch, free, load, nothing, type Ops, offload, spill } from './emit.js'
import type { Place } from './ops.js'
import type { Value } from './values.js'

export interface Store {
  readonly tier: Tier
  save(place: Place, ...values: readonly Value[]): Ops
  bring(place: Place, ...values: readonly Value[]): Ops
  release(place: Place, ...values: readonly Value[]): Ops
  put(place: Place, ...values: readonly Value[]): Ops
  take(place: Place, ...values: readonly Value[]): Ops
  forget(place: Place, ...values: readonly Value[]): Ops
  end(place: Place, ...values: readonly Value[]): Ops
}

export function storeOn(tier: Tier): Store {
  switch (tier) {
    case 'device':
      return {
        tier,
        save: nothing,
        bring: nothing,
        release: nothing,
        put: nothing,
        take: nothing,
        forget: nothing,
        end: (place, ...values) => free(place, tier, ...values),
      }
    case 'host':
    case 'disk':
      return awayFromDevice(tier)
    default:
      return tier satisfies never
  }
}

/** Values that wait on one tier wait on another from here on. */
export function* transfer(place: Place, from: Tier, to: Tier, ...values: readonly Value[]): Ops {
  if (from === to) return
  for (const value of values) {
    if (from === 'disk') yield* toHost(place, value)
    if (from === 'disk' && to === 'device') yield* leaveHost(place, value)
    if (from === 'host' && to === 'device') yield* leaveHost(place, value)
    if (from === 'device') {
      yield offload(place, value)
      yield* free(place, 'device', value)
    }
    if (to === 'disk') {
      yield spill(place, value)
      yield* free(place, 'host', value)
    }
  }
}

function* toHost(place: Place, value: Value): Ops {
  yield load(place, value)
  yield* free(place, 'disk', value)
}
function* leaveHost(place: Place, value: Value): Ops {
  yield fetch(place, value)
  yield* free(place, 'host', value)
}

function awayFromDevice(tier: 'host' | 'disk'): Store {
  const onDisk = tier === 'disk'
  const store: Store = {
    tier,
    *save(place, ...values) {
      for (const value of values) {
        yield offload(place, value)
        if (!onDisk) continue
        yield spill(place, value)
        yield* free(place, 'host', value)
      }
    },
    *bring(place, ...values) {
      for (const value of values) {
        if (onDisk) yield load(place, value)
        yield fetch(place, value)
        if (onDisk) yield* free(place, 'host', value)
      }
    },
    release: (place, ...values) => free(place, 'device', ...values),
    *put(place, ...values) {
      for (const value of values) {
        yield* store.save(place, value)
        yield* store.release(place, value)
      }
    },
    *take(place, ...values) {
      for (const value of values) {
        yield* store.bring(place, value)
        yield* store.forget(place, value)
      }
    },
    forget: (place, ...values) => free(place, tier, ...values),
    end: (place, ...values) => free(place, tier, ...values),
  }
  return store
}
