/** What the reader has chosen in the settings of JupyterLab; what is written here holds where there are none. */
import type { ISettingRegistry } from '@jupyterlab/settingregistry'
import { VIEWS, type ViewName } from './view-names.js'

export interface Settings {
  /** Open in a new panel. */
  readonly views: readonly ViewName[]
  /** The most pictures per second while a run goes on. */
  readonly framesPerSecond: number
  /** How much larger everything is in presentation mode. */
  readonly presentationScale: number
  /** A window that ends where the run ends moves on with it. */
  readonly followLive: boolean
}

let current: Settings = { views: ['timeline'], framesPerSecond: 30, presentationScale: 1.5, followLive: true }
const listeners = new Set<() => void>()

export function settings(): Settings {
  return current
}

/** Takes what JupyterLab has checked against the schema; names of views that are not known are left out. */
export function setSettings(next: Partial<Settings>): void {
  current = { ...current, ...next, views: (next.views ?? current.views).filter((name) => VIEWS.includes(name)) }
  for (const listener of [...listeners]) listener()
}

/** Takes the settings of the plugin, now and whenever they change. Without them, what is written here holds. */
export async function followSettings(registry: ISettingRegistry, plugin: string): Promise<void> {
  const loaded = await registry.load(plugin)
  const take = (): void => setSettings(loaded.composite as Partial<Settings>)
  loaded.changed.connect(take)
  take()
}

export function onSettings(listener: () => void): { dispose(): void } {
  listeners.add(listener)
  return { dispose: () => listeners.delete(listener) }
}
