/** Looks into objects of strangers: what is asked of them to find out how they want to be shown must not run what they did not mean to be run. */
import { types } from 'node:util'

/** Whether it can have properties, and is no proxy, whose traps would run. */
export function isOpen(value: unknown): value is object {
  return ((typeof value === 'object' && value !== null) || typeof value === 'function') && !types.isProxy(value)
}

/**
 * A property, or what a getter of the object's class says: that is part of its interface. A getter of the object itself is not asked, and what
 * throws has no such property.
 */
export function read(value: unknown, name: PropertyKey): unknown {
  for (let owner = value; isOpen(owner); owner = Object.getPrototypeOf(owner)) {
    const property = Object.getOwnPropertyDescriptor(owner, name)
    if (property === undefined) continue
    if (property.get === undefined) return property.value
    if (owner === value) return undefined
    try {
      return property.get.call(value)
    } catch {
      return undefined
    }
  }
  return undefined
}

type Method = (...args: readonly unknown[]) => unknown

/** The first method of these names, bound. */
export function method(value: unknown, ...names: readonly PropertyKey[]): Method | undefined {
  for (const name of names) {
    const found = read(value, name)
    if (typeof found === 'function') return (...args) => found.apply(value, args)
  }
  return undefined
}
